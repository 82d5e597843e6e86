"""A report with a case of each outcome."""

from cardtrail.sandbox.examine.catalogue import chosen
from cardtrail.sandbox.examine.result import Outcome, Report, Result


def report() -> Report:
    """Return a report of four cases of two themes: two passed, one failed, one skipped."""
    [plain, kept], [status], [operation] = chosen(["plain"]), chosen(["unknown-status"])[:1], chosen(["unknown-op"])[:1]
    return Report("https://bank.example/hooks", "0123456789", [
        Result(plain, Outcome.PASSED, "", 0.25), Result(kept, Outcome.SKIPPED, "no state was given"),
        Result(status, Outcome.FAILED, 'answered HTTP 500: <b>"[red]x"</b> & more; 204 expected', 0.5),
        Result(operation, Outcome.PASSED, "", 0.125),
    ])  # fmt: skip
