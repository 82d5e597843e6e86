"""How fast a client may call: its own rate, and what the other side asked for by 429. Safe for threads."""

from threading import Lock

from cardtrail.core.bucket import Bucket


class Pace:
    """`rate` is in calls a second, None for no limit; a burst is what a second holds. `now` is the session's clock."""

    def __init__(self, rate: float | None) -> None:
        self._bucket = None if rate is None else Bucket(rate, max(1.0, rate))
        self._lock = Lock()
        self._held_until = 0.0

    def turn(self, now: float, within: float) -> float | None:
        """Take a turn and return the seconds until it comes; take none and return None where that is not `within`."""
        held = max(0.0, self._held_until - now)
        if self._bucket is None:
            return held if held <= within else None
        with self._lock:
            if max(held, self._bucket.wait(now)) > within:
                return None
            return max(held, self._bucket.book(now))

    def hold(self, until: float) -> None:
        """Let nobody call before then: the other side has had enough."""
        self._held_until = max(self._held_until, until)
