"""What one check found, and what to do about it."""

from enum import StrEnum
from typing import NamedTuple

from cardtrail.db import Database
from cardtrail.platform.settings import Settings


class Level(StrEnum):
    """How it stands; one that is bad ends the command with exit code 1."""

    OK = "ok"
    WARN = "warn"
    BAD = "bad"


class Finding(NamedTuple):
    """What a check found; `remedy` says in one line what to do, "" where all is well."""

    check: str
    level: Level
    text: str
    remedy: str = ""


class Case(NamedTuple):
    """What the checks of a store look at; `now` is process time in µs."""

    settings: Settings
    db: Database
    now: int


def ok(check: str, text: str) -> Finding:
    """Return that all is well."""
    return Finding(check, Level.OK, text)


def warn(check: str, text: str, remedy: str) -> Finding:
    """Return that it works, and will not for ever or not for all."""
    return Finding(check, Level.WARN, text, remedy)


def bad(check: str, text: str, remedy: str) -> Finding:
    """Return that it does not work, or that something can be lost."""
    return Finding(check, Level.BAD, text, remedy)
