"""When to try again: the retry schedule of a notification and the probes of an open circuit. Contract section 7.

::

    attempt   1   2    3    4     5     6      7    8    9    10   11   …   17
    after     -   5 s  30 s 2 min 10 min 30 min 1 h  2 h  4 h  8 h  8 h  …   8 h

The steps add up to a little less than 72 hours, and the seventeenth attempt is the last. Attempts are what counts, not
age: while the circuit is open a notification is not tried and does not age, and what stretches the waits (jitter, or a
receiver that asks for time by `Retry-After`) must not cost it a try. So a dead letter has always had every attempt.

Jitter only lengthens: a step is the earliest time, and a receiver's `Retry-After` is kept. Chance is an argument, a
`seed` in [0, 1). Times are in µs.
"""

from collections.abc import Sequence

SECOND = 1_000_000
MINUTE = 60 * SECOND
HOUR = 60 * MINUTE

FIRST_STEPS = (
    5 * SECOND, 30 * SECOND, 2 * MINUTE, 10 * MINUTE, 30 * MINUTE, 1 * HOUR, 2 * HOUR, 4 * HOUR, 8 * HOUR,
)  # fmt: skip
"""The waits after the first attempts, µs; the last of them is repeated."""
SPAN = 72 * HOUR
"""What all waits together may be without jitter, µs."""
STEPS = FIRST_STEPS + FIRST_STEPS[-1:] * ((SPAN - sum(FIRST_STEPS)) // FIRST_STEPS[-1])
"""The wait after each attempt but the last, µs."""
MAX_ATTEMPTS = len(STEPS) + 1
"""How often a notification is tried before it is dead."""
MAX_RETRY_AFTER = 24 * HOUR
"""The longest wait a receiver can ask for, µs."""
JITTER = 0.2
"""How much longer chance may make a wait, as a share of it."""
FIRST_PROBE = 5 * SECOND
"""The wait before the first probe of an open circuit, µs; it doubles with each that fails."""
LAST_PROBE = 5 * MINUTE
"""The longest wait between two probes, µs."""
_DOUBLINGS = (LAST_PROBE // FIRST_PROBE).bit_length()
"""After this many the longest wait is reached, whatever the count."""


def next_due(
    attempt: int, now: int, seed: float, retry_after: int | None = None, steps: Sequence[int] = STEPS
) -> int | None:
    """Return when to try again after `attempt` attempts (1 or more) have failed, in µs; None: give up.

    `now` in µs, `retry_after` in whole seconds as the header has it, if the receiver sent one.
    """
    if attempt < 1:
        raise ValueError(f"at least one attempt has been made, not {attempt}")
    if attempt > len(steps):
        return None
    asked = min((retry_after or 0) * SECOND, MAX_RETRY_AFTER)
    return now + _stretched(max(steps[attempt - 1], asked), seed)


def probe_after(failures_since_open: int, seed: float, first: int = FIRST_PROBE) -> int:
    """Return how long an open circuit waits before its next probe, µs; 0 failures: it has just opened.

    `first` is the first wait, the longest is sixty of them.
    """
    if failures_since_open < 0:
        raise ValueError(f"a count of failed probes expected, not {failures_since_open}")
    longest = first * (LAST_PROBE // FIRST_PROBE)
    return _stretched(min(first << min(failures_since_open, _DOUBLINGS), longest), seed)


def _stretched(wait: int, seed: float) -> int:
    if not 0 <= seed < 1:
        raise ValueError(f"a seed in [0, 1) expected, not {seed}")
    return wait + int(wait * JITTER * seed)
