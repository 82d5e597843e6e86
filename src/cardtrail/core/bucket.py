"""A token bucket: so many a second, and a burst of so many at once. The clock is the caller's."""


class Bucket:
    """A token bucket as one number: `due`, the moment at which it will be full again.

    Each take moves `due` by one interval; a call that finds it further ahead than the burst lasts must wait.
    """

    __slots__ = ("due", "interval", "room")

    def __init__(self, rate: float, burst: float) -> None:
        self.due = 0.0
        self.set_rate(rate, burst)

    def set_rate(self, rate: float, burst: float) -> None:
        """Give `rate` tokens a second and room for `burst` of them, from now on."""
        self.interval = 1.0 / rate
        self.room = (burst - 0.5) * self.interval  # half a token, so that rounding never costs a whole one

    def wait(self, now: float) -> float:
        """Return 0.0 if there is a token, or how many seconds until there is one."""
        return max(0.0, self.due - now - self.room)

    def take(self, now: float) -> float:
        """Take a token and return 0.0, or take none and return the seconds until there is one; `now` in s."""
        due = self.due
        if due <= now:
            self.due = now + self.interval
            return 0.0
        if due - now > self.room:
            return due - now - self.room
        self.due = due + self.interval
        return 0.0

    def book(self, now: float) -> float:
        """Take the next token, even where it is still to come, and return the seconds until it is there.

        Whoever books waits once and in turn, where callers of `take` would come back together.
        """
        wait = max(0.0, self.due - now - self.room)
        self.due = max(self.due, now) + self.interval
        return wait

    def give_back(self) -> None:
        """Give a token back that was taken."""
        self.due -= self.interval
