"""All cases by theme, and the choice among them."""

from collections.abc import Sequence

from cardtrail.errors import InputError
from cardtrail.sandbox.examine.case import Case
from cardtrail.sandbox.examine.cases.bulk import BULK
from cardtrail.sandbox.examine.cases.order import ORDER
from cardtrail.sandbox.examine.cases.signing import SIGNING
from cardtrail.sandbox.examine.cases.stories import STORIES
from cardtrail.sandbox.examine.cases.tolerance import TOLERANCE
from cardtrail.sandbox.examine.cases.wire import WIRE
from cardtrail.sandbox.examine.cases.wrong import WRONG

THEMES = (STORIES, ORDER, BULK, TOLERANCE, WRONG, SIGNING, WIRE)
"""Themes in the order of a report."""
CASES: Sequence[Case] = tuple([case for theme in THEMES for case in theme.cases])
"""Every case, in the order of a report."""


def chosen(words: Sequence[str]) -> Sequence[Case]:
    """Return the cases whose name or theme is one of these words, or begins so; all without any. Raises InputError."""
    for word in words:
        if not any(_is_meant(case, word) for case in CASES):
            raise InputError("only", f"no case or theme begins with {word[:40]!r}; --list shows them")
    return [case for case in CASES if not words or any(_is_meant(case, word) for word in words)]


def _is_meant(case: Case, word: str) -> bool:
    return bool(word) and (case.name.startswith(word) or case.theme == word)
