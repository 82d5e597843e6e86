"""The book of the world: sites, carriers, steps and scenarios, read from TOML. `book.toml` is the one that ships."""

import tomllib
from collections.abc import Iterable
from functools import cache
from importlib.resources import files
from itertools import pairwise
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec

from cardtrail.core.event import CarrierKind, ProductionKind
from cardtrail.errors import InputError, SettingError
from cardtrail.protocol.codec import Code, Line, Name, Text, input_error_of, reason_of
from cardtrail.sandbox.world.span import span_of

Day = Literal["Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"]
DAYS: tuple[Day, ...] = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
MAX_FILE = 1_000_000
"""Largest file, bytes."""
MAX_STEPS = 60
"""Most steps of a scenario."""
Slug = Annotated[str, msgspec.Meta(pattern=r"^[a-z0-9]+(?:[-_][a-z0-9]+)*\Z", max_length=40)]
About = Annotated[str, msgspec.Meta(min_length=1, max_length=200)]
Weight = Annotated[int, msgspec.Meta(ge=0, le=1_000_000)]


class Span(int):
    """A span in µs, in the file a text such as `3h`."""


class Entry(msgspec.Struct, frozen=True, kw_only=True, rename="camel", forbid_unknown_fields=True):
    """What has a place in the book."""


class Site(Entry, frozen=True, kw_only=True):
    """A personalization centre: when it works, how many cards a day it begins, and in lots of how long."""

    name: Line
    days: Annotated[tuple[Day, ...], msgspec.Meta(min_length=1)]
    hours: tuple[Annotated[int, msgspec.Meta(ge=0, le=23)], Annotated[int, msgspec.Meta(ge=1, le=24)]]
    lot: Span
    capacity: Annotated[int, msgspec.Meta(ge=1, le=10_000_000)]


class Carrier(Entry, frozen=True, kw_only=True):
    """A carrier: when it works, how often it is chosen, and its own words for what it scans."""

    weight: Weight = 0
    days: Annotated[tuple[Day, ...], msgspec.Meta(min_length=1)]
    hours: tuple[Annotated[int, msgspec.Meta(ge=0, le=23)], Annotated[int, msgspec.Meta(ge=1, le=24)]]
    codes: dict[Slug, Code] = {}


class StepKind(Entry, frozen=True, kw_only=True):
    """What can happen to a card: who reports it, how long after the step before, and what the event says."""

    by: Literal["site", "carrier"]
    dwell: tuple[Span, Span]
    kind: str = ""
    status: Code | None = None
    message: Text | None = None
    reason: Text | None = None
    error_code: Name | None = None
    error: Text | None = None
    final: bool = False


class Step(Entry, frozen=True, kw_only=True):
    """One step of a scenario; `after` overrides the dwell, `late` delays the report, `stamp` falsifies its time."""

    step: Slug
    after: Span | None = None
    late: Span = Span(0)
    stamp: Span = Span(0)


class Scenario(Entry, frozen=True, kw_only=True):
    """A story that a card can have."""

    about: About
    steps: Annotated[tuple[Slug | Step, ...], msgspec.Meta(min_length=1, max_length=MAX_STEPS)]
    weight: Weight = 0
    carrier: Slug = ""
    parcel: Literal["letter", "branch", "untracked"] = "letter"
    again: Span = Span(0)
    site_clock: Span = Span(0)
    carrier_clock: Span = Span(0)
    reorder: Slug = ""

    @property
    def whole_steps(self) -> tuple[Step, ...]:
        """Its steps, those given by name alone included."""
        return tuple(Step(step=each) if isinstance(each, str) else each for each in self.steps)


class Book(Entry, frozen=True, kw_only=True):
    """All of it, by name."""

    sites: dict[Slug, Site] = {}
    carriers: dict[Slug, Carrier] = {}
    steps: dict[Slug, StepKind] = {}
    scenarios: dict[Slug, Scenario] = {}

    def scenario(self, name: str, field: str = "scenario") -> Scenario:
        """Return a scenario. Raises InputError naming `field`."""
        if name not in self.scenarios:
            raise InputError(field, f"one of {', '.join(self.scenarios)} expected, not {name[:40]!r}")
        return self.scenarios[name]


@cache
def shipped_book() -> Book:
    """Return the book that ships with the package."""
    return _checked(_book_of(files("cardtrail.sandbox.world").joinpath("book.toml").read_bytes()))


def book_with(path: Path) -> Book:
    """Return the shipped book with a file's entries added or put in place.

    Raises SettingError naming the file and the field.
    """
    try:
        with path.open("rb") as file:
            mine, shipped = _book_of(file.read(MAX_FILE + 1)), shipped_book()
        return _checked(Book(**{
            each: {**getattr(shipped, each), **getattr(mine, each)} for each in Book.__struct_fields__
        }))  # fmt: skip
    except OSError as error:
        raise SettingError(f"scenarios: {error.strerror}: {path}") from None
    except InputError as error:
        raise SettingError(f"scenarios: {path}: {error}") from None


def _book_of(text: bytes) -> Book:
    if len(text) > MAX_FILE:
        raise InputError("", f"at most {MAX_FILE:,} bytes")
    try:
        tables = tomllib.loads(text.decode())
    except (ValueError, RecursionError) as error:  # no UTF-8, no TOML, or arrays in arrays for ever
        raise InputError("", reason_of(error)) from None
    for table, entries in tables.items():
        for name in entries if isinstance(entries, dict) else ():
            _as_book(f"{table}.{name}", {table: {name: entries[name]}})
    return _as_book("", tables)


def _as_book(entry: str, tables: dict[str, Any]) -> Book:
    """Return tables as a book. Raises InputError naming the `entry` that is in them, which msgspec does not."""
    try:
        return msgspec.convert(tables, Book, dec_hook=_span)
    except msgspec.ValidationError as error:
        found = input_error_of(error)
        if not entry:
            raise found from None
        raise InputError(
            entry + found.field.partition("[...]")[2], str(found).removeprefix(f"{found.field}: ")
        ) from None


def _span(kind: type, value: Any) -> Any:
    if kind is not Span or not isinstance(value, str):
        raise ValueError(f"{kind.__name__} expected")
    try:
        return Span(span_of(value))
    except InputError as error:
        raise ValueError(str(error)) from None


# ── what belongs together ────────────────────────────────────────────────────────────────────────────────────


def _checked(book: Book) -> Book:
    """Return the book, or raise InputError naming the first entry that does not fit the others."""
    if not book.sites:
        raise InputError("sites", "at least one expected")
    if not any(carrier.weight for carrier in book.carriers.values()):
        raise InputError("carriers", "at least one with a weight expected")
    if not any(scenario.weight for scenario in book.scenarios.values()):
        raise InputError("scenarios", "at least one with a weight expected")
    for name, site in book.sites.items():
        _check_hours(f"sites.{name}", site)
        if site.lot <= 0:
            raise InputError(f"sites.{name}.lot", "a span of more than nothing expected")
    for name, carrier in book.carriers.items():
        _check_hours(f"carriers.{name}", carrier)
    for name, kind in book.steps.items():
        _check_step(f"steps.{name}", kind, name)
    for name, scenario in book.scenarios.items():
        _check_scenario(book, f"scenarios.{name}", scenario)
    return book


def _check_hours(field: str, place: Site | Carrier) -> None:
    if place.hours[0] >= place.hours[1]:
        raise InputError(f"{field}.hours", "from an earlier to a later hour expected")


def _check_step(field: str, kind: StepKind, name: str) -> None:
    known = {*ProductionKind} - {ProductionKind.REQUESTED} if kind.by == "site" else {*CarrierKind}
    if kind_of(name, kind) not in known:
        raise InputError(f"{field}.kind", f"one of {', '.join(sorted(known))} expected")
    if not 0 < kind.dwell[0] <= kind.dwell[1]:
        raise InputError(f"{field}.dwell", "two spans expected, the longer one last")


def _check_scenario(book: Book, field: str, scenario: Scenario) -> None:
    for number, step in enumerate(scenario.whole_steps):
        if step.step not in book.steps:
            raise InputError(f"{field}.steps[{number}]", f"there is no step {step.step!r}")
        if min(step.late, step.after or 0) < 0:
            raise InputError(f"{field}.steps[{number}]", "after and late look ahead")
    if scenario.again < 0:
        raise InputError(f"{field}.again", "it looks ahead")
    makers = [book.steps[step.step].by for step in scenario.whole_steps]
    if any(pair == ("carrier", "site") for pair in pairwise(makers)):
        raise InputError(f"{field}.steps", "a site's step cannot come after a carrier's")
    if "carrier" in makers and "shipped" not in {step.step for step in scenario.whole_steps}:
        raise InputError(f"{field}.steps", "a carrier's steps need the site's `shipped` before them")
    if scenario.parcel == "untracked" and "carrier" in makers:
        raise InputError(f"{field}.parcel", "what has no number is not scanned")
    _check_names(f"{field}.carrier", scenario.carrier, book.carriers)
    _check_names(f"{field}.reorder", scenario.reorder, book.scenarios)


def _check_names(field: str, name: str, known: Iterable[str]) -> None:
    if name and name not in known:
        raise InputError(field, f"one of {', '.join(known)} expected, not {name!r}")


def kind_of(name: str, kind: StepKind) -> str:
    """Return the kind of event that a step is reported as."""
    return kind.kind or (name if kind.by == "site" else CarrierKind.SCANNED)
