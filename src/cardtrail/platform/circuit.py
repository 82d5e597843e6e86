"""How it goes at an endpoint: when to stop hammering, when to try again, and how much at once.

Closed, everything is sent. After `THRESHOLD` failed calls in a row the circuit opens: then one message at a time is
tried, ever more seldom, and no notification grows older. A success closes it; the backlog then drains at a pace that
begins with one call at a time and doubles with every call that succeeds.
"""

from collections.abc import Callable

THRESHOLD = 5
"""Failed calls in a row that open a circuit."""
REFUSALS = 20
"""Orders refused in a row, with no success between, that tell a broken receiver from a bad message."""
GIVE_UP = 5 * 86_400_000_000
"""How long an endpoint may fail without a success before it is disabled, µs."""
MIN_FAILURES = 50
"""Failed calls in a row without which an endpoint is not given up."""
MAX_ASKED = GIVE_UP // MIN_FAILURES
"""Longest time, µs, for which an endpoint is not even probed because it asks for it: or it would never be given up."""
LAPSE = 3_600_000_000
"""When a probe comes so much later than it should, µs, nobody tried meanwhile, and that time does not count."""

ProbeAfter = Callable[[int], int]
"""Failed probes so far -> µs until the next."""


class Circuit:
    """One endpoint's circuit; times in µs of process time.

    `limit` is the endpoint's own limit of concurrency; `window` is how many calls at once are made of it at first, the
    whole unless it is given.
    """

    __slots__ = ("_probe_after", "changed", "failing_since", "failures", "limit", "probe_at", "window")

    def __init__(  # noqa: PLR0913 -- as it is stored, and how fast it may go
        self,
        failures: int,
        failing_since: int | None,
        probe_at: int | None,
        limit: int,
        probe_after: ProbeAfter,
        *,
        window: int | None = None,
    ) -> None:
        self.failures = failures
        self.failing_since = failing_since
        self.probe_at = probe_at
        self.limit = limit
        self.window = 1 if probe_at is not None else min(limit, limit if window is None else window)
        self.changed = False
        """Whether something is not yet written down."""
        self._probe_after = probe_after

    @property
    def is_open(self) -> bool:
        """Whether only probes are sent."""
        return self.probe_at is not None

    def succeed(self) -> bool:
        """Note a success; return whether it closed the circuit."""
        closed = self.is_open
        self.changed = self.changed or self.failures > 0
        self.failures, self.failing_since, self.probe_at = 0, None, None
        self.window = min(self.limit, self.window * 2)
        return closed

    def fail(self, now: int, asked: int = 0) -> bool:
        """Note a failed call, whose answer asked for so much time (µs); return whether it opened the circuit."""
        was_open = self.is_open
        self.failures += 1
        self.failing_since = self.failing_since if self.failing_since is not None else now
        if self.probe_at is not None and now - self.probe_at > LAPSE:
            self.failing_since += now - self.probe_at
        self.window = max(1, self.window // 2)
        self.changed = True
        if was_open or self.failures >= THRESHOLD:
            self.open(now, asked)
        return self.is_open and not was_open

    def open(self, now: int, asked: int = 0) -> None:
        """Send nothing but probes from now on, the first one not before the time that was `asked` for (µs)."""
        self.failures = max(self.failures, THRESHOLD)
        self.failing_since = self.failing_since if self.failing_since is not None else now
        self.probe_at = now + max(self._probe_after(self.failures - THRESHOLD), min(asked, MAX_ASKED))
        self.window = 1
        self.changed = True

    def is_hopeless(self, now: int) -> bool:
        """Tell whether the endpoint has failed for so long that it is disabled."""
        since = self.failing_since
        return since is not None and now - since >= GIVE_UP and self.failures >= MIN_FAILURES
