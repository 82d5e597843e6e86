"""What came of an examination: each case passed, failed or was skipped, and the grade of the whole."""

from collections.abc import Sequence
from enum import StrEnum

import msgspec

from cardtrail.sandbox.examine.case import Case, Weight


class Outcome(StrEnum):
    """What became of a case."""

    PASSED = "passed"
    FAILED = "failed"
    SKIPPED = "skipped"


class Result(msgspec.Struct, frozen=True):
    """A case and what became of it; `seen` says what was seen, or why it was skipped. `seconds` it took."""

    case: Case
    outcome: Outcome
    seen: str = ""
    seconds: float = 0.0


class Report(msgspec.Struct, frozen=True):
    """All results, in the order of the cases."""

    url: str
    run_id: str
    results: Sequence[Result]

    def of(self, outcome: Outcome) -> list[Result]:
        """Return the results with this outcome."""
        return [result for result in self.results if result.outcome is outcome]

    @property
    def is_passed(self) -> bool:
        """Whether nothing failed."""
        return not self.of(Outcome.FAILED)

    @property
    def seconds(self) -> float:
        """How long all cases took together."""
        return sum(result.seconds for result in self.results)

    @property
    def grade(self) -> str:
        """The grade in one line; what was skipped counts neither way, and is said."""
        passed, failed, skipped = (len(self.of(outcome)) for outcome in Outcome)
        tried = passed + failed
        parts = [f"{passed} of {tried} passed"]
        parts += [f"{failed} failed"] if failed else []
        parts += [f"{skipped} skipped"] if skipped else []
        weighed = [f"{weight}: {self._share(weight)}" for weight in Weight if self._tried(weight)]
        return f"{', '.join(parts)}; {', '.join(weighed)}" if weighed else ", ".join(parts)

    def _tried(self, weight: Weight) -> list[Result]:
        return [each for each in self.results if each.case.weight is weight and each.outcome is not Outcome.SKIPPED]

    def _share(self, weight: Weight) -> str:
        tried = self._tried(weight)
        passed = sum(each.outcome is Outcome.PASSED for each in tried)
        return "all" if passed == len(tried) else f"{passed} of {len(tried)}"
