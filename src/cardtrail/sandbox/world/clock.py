"""Virtual time: domain time that runs faster than real time, stands still, or jumps.

Only what happens to cards goes by it. Leases, time-outs, tokens and signatures go by the real clocks of the process.
"""

import asyncio
import math
import time
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime, timedelta

from cardtrail.core.order import SECOND
from cardtrail.errors import InputError
from cardtrail.sandbox.world.span import MAX_SPAN, told_speed

MONDAY_MORNING = 6
"""Hour of the day at which a world begins, UTC."""
WEEK = 7 * 86_400 * SECOND
LATEST = int(datetime(9000, 1, 1, tzinfo=UTC).timestamp()) * SECOND
"""When a clock that is left running for ever stands still: dates end with the year 9999."""
_ONE = 1.0


class VirtualClock:
    """A clock that begins at `start` (µs) and runs `speed` times as fast as `monotonic` (seconds).

    At infinite speed it stands until somebody jumps it to the next thing that happens. It never goes back.
    """

    def __init__(
        self, start: int, speed: float = _ONE, monotonic: Callable[[], float] = time.monotonic, *, paused: bool = False
    ) -> None:
        self._monotonic = monotonic
        self._from = start
        self._since = monotonic()
        self._speed = speed
        self._is_paused = paused
        self._changed = asyncio.Event()

    def __call__(self) -> int:
        """Return now, µs since 1970 UTC."""
        if self._is_paused or math.isinf(self._speed):
            return self._from
        ahead = round((self._monotonic() - self._since) * self._speed * SECOND)
        return max(self._from, min(self._from + ahead, LATEST))

    @property
    def speed(self) -> float:
        """How many seconds pass in a real one while it is not paused; infinite at `max`."""
        return self._speed

    @property
    def is_paused(self) -> bool:
        """Whether it stands."""
        return self._is_paused

    @property
    def word(self) -> str:
        """How it runs, for people: `1000x`, `max` or `paused`."""
        return "paused" if self._is_paused else told_speed(self._speed)

    def told(self) -> str:
        """Return what time it is and how it runs, for people."""
        return f"{told_instant(self())} UTC, {self.word}"

    # ── switches ──

    def run(self, speed: float) -> None:
        """Run at another speed from now on; goes on if it was paused."""
        self._set(self(), speed=speed, is_paused=False)

    def pause(self) -> None:
        """Stand still."""
        self._set(self(), speed=self._speed, is_paused=True)

    def resume(self) -> None:
        """Go on at the speed it had."""
        self._set(self(), speed=self._speed, is_paused=False)

    def toggle(self) -> None:
        """Stand still, or go on."""
        (self.resume if self._is_paused else self.pause)()

    def advance(self, span: int) -> None:
        """Jump ahead by a span of µs. Raises InputError as `check`."""
        self.check(span)
        self.reach(self() + span)

    def check(self, span: int) -> None:
        """Raise InputError for a step back, one of more than ten years, or one past the end of time."""
        if not 0 <= span <= MAX_SPAN:
            raise InputError("span", "time only goes ahead, by at most ten years", "FIELD_INVALID_VALUE")
        if self() + span > LATEST:
            raise InputError("span", f"time ends at {told_instant(LATEST)}", "FIELD_INVALID_VALUE")

    def reach(self, at: int) -> None:
        """Jump to an instant unless it has passed."""
        self._set(max(at, self()), speed=self._speed, is_paused=self._is_paused)

    def _set(self, now: int, *, speed: float, is_paused: bool) -> None:
        self._from, self._since = now, self._monotonic()
        self._speed, self._is_paused = speed, is_paused
        self.touch()

    # ── waiting ──

    def touch(self) -> None:
        """Let whoever waits look again: the clock or what it waits for has changed."""
        self._changed.set()

    async def until(self, at: int | None) -> None:
        """Wait until an instant has come, or something has changed; None is an instant that does not come by itself.

        At infinite speed the instant comes at once.
        """
        self._changed.clear()
        if at is not None and self() >= at:
            return
        seconds = self._seconds_to(at)
        if seconds == 0 and at is not None and math.isinf(self._speed):
            self._from = max(at, self._from)
            await asyncio.sleep(0)
            return
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):  # `wait_for` of Python 3.11 can lose a cancellation
                await self._changed.wait()

    def _seconds_to(self, at: int | None) -> float | None:
        """Return how many real seconds there are to an instant; None where it does not come by itself."""
        if at is None or self._is_paused:
            return None
        return 0.0 if math.isinf(self._speed) else (at - self()) / self._speed / SECOND


def coming_monday(now: int) -> int:
    """Return the first Monday morning after an instant, µs: a world that begins there has the same days every time."""
    today = datetime.fromtimestamp(now // SECOND, UTC).replace(hour=MONDAY_MORNING, minute=0, second=0)
    monday = int((today - timedelta(days=today.weekday())).timestamp()) * SECOND
    return monday if monday > now else monday + WEEK


def told_instant(at: int) -> str:
    """Return an instant for people: `Mon 2026-01-05 06:00`."""
    return f"{datetime.fromtimestamp(at / SECOND, UTC):%a %Y-%m-%d %H:%M}"


def wire_instant(at: int) -> str:
    """Return an instant as the wire has it, with milliseconds."""
    return datetime.fromtimestamp(at / SECOND, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
