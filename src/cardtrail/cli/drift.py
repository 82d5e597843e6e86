"""`cardtrail drift`: what the mirror was not told, for how long it was wrong, and whether the stated bound held."""

from typing import Annotated, Any

import msgspec
from cyclopts import Parameter

from cardtrail.cli.kit import MIRROR, Flag, mirrored
from cardtrail.cli.options import signature_of
from cardtrail.cli.show import plain, print_all, print_json, table_of, when
from cardtrail.errors import InputError
from cardtrail.issuer.drift import MAX_DAYS, Bound, Missed, Report, Share, begin_of, read
from cardtrail.issuer.mirror import AsyncMirror
from cardtrail.issuer.settings import described, settings_of

MAX_LISTED = 1_000
SECOND = 1_000_000


def drift(
    *, days: int = 30, last: Annotated[int, Parameter(help="How many missed changes to list.")] = 20,
    json: Flag = False, **given: Any,
) -> None:  # fmt: skip
    """Report what the mirror was not told, from when to when it was wrong, and whether the stated bound held.

    Parameters
    ----------
    days
        How many days back, today included.
    json
        Print JSON instead of tables; instants and durations are microseconds there.
    """
    settings = settings_of(given)
    for name, number, most in (("days", days, MAX_DAYS), ("last", last, MAX_LISTED)):
        if not 1 <= number <= most:
            raise InputError(name, f"1 to {most} expected", "FIELD_INVALID_VALUE")

    async def work(mirror: AsyncMirror) -> Report:
        since = begin_of(days, mirror.clock())
        return await mirror.db.read(lambda tx: read(tx, settings.issuer_id, since, last))

    report = mirrored(settings, work)
    print_json(_members(report)) if json else _print(report)


def _members(report: Report) -> dict[str, Any]:
    """Return the report as JSON has it, with what is worked out from it."""
    members: dict[str, Any] = msgspec.to_builtins(report)
    members["missed"] = [msgspec.to_builtins(each) | {"wrongFor": each.wrong_for} for each in report.missed]
    members["bounds"] = [msgspec.to_builtins(each) | {"held": each.held} for each in report.bounds]
    members["whole"] = _with_shares(report.whole)
    members["byWord"] = [_with_shares(each) for each in report.by_word]
    members["byDay"] = [_with_shares(each) for each in report.by_day]
    return members


def _with_shares(share: Share) -> dict[str, Any]:
    members: dict[str, Any] = msgspec.to_builtins(share)
    return members | {
        "missed": share.missed, "missedShare": share.share(share.missed), "lateShare": share.share(share.late),
    }  # fmt: skip


def _print(report: Report) -> None:
    whole = report.whole
    print_all(
        f"since {when(report.since)} UTC: {report.messages:,} messages; of {whole.told:,} steps",
        f"told in time {whole.notified:,}, missed {_part(whole, whole.missed)}, late {_part(whole, whole.late)}; "
        f"{whole.inferred:,} more were passed over by newer ones",
        f"told twice {report.duplicates:,}, overtaken {report.stale:,}",
        f"repaired {report.repaired:,}: wrong for at most {span(report.p50)} (half of them), "
        f"{span(report.p99)} (99 %), {span(report.longest)} (all)",
    )
    left = {"not answered": report.unrepaired, "doubtful": report.doubtful, "unknown to the platform": report.unknown}
    if any(left.values()):
        print_all("open now: " + ", ".join(f"{count:,} {name}" for name, count in left.items() if count))
    for bound in report.bounds[-1:]:
        print_all(_told(bound))
    for title, shares in (("by stage", report.by_word), ("by day", report.by_day)):
        if shares:
            _print_shares(title, shares)
    if report.missed:
        _print_missed(report.missed)
    if report.sightings:
        print_all("", "not in the contract, at first sight")
        table = table_of("what", "name", "seen (UTC)")
        for seen in report.sightings:
            table.add_row(seen.kind, plain(seen.name), when(seen.first_at))
        print_all(table)


def _told(bound: Bound) -> str:
    state = "held" if bound.held else "did NOT hold"
    return f"bound of {bound.day}: {span(bound.stated)} at most, longest unconfirmed {span(bound.worst)}: it {state}"


def _part(share: Share, count: int) -> str:
    return f"{count:,} ({share.share(count):.2%})"


def _print_shares(title: str, shares: list[Share]) -> None:
    print_all("")
    table = table_of(title, "steps", "missed", "share", "late", "share", "inferred")
    for share in shares:
        table.add_row(
            plain(share.name), f"{share.told:,}", f"{share.missed:,}", f"{share.share(share.missed):.1%}",
            f"{share.late:,}", f"{share.share(share.late):.1%}", f"{share.inferred:,}",
        )  # fmt: skip
    print_all(table)


def _print_missed(missed: list[Missed]) -> None:
    print_all("")
    table = table_of("card", "was", "is", "since (UTC)", "for at most")
    for each in missed:
        table.add_row(
            plain(each.card_id), plain(each.before or "nothing"), plain(each.after), when(each.wrong_since)[5:],
            span(each.wrong_for),
        )  # fmt: skip
    print_all(table)


def span(micros: int) -> str:
    """Return a duration as a person reads it."""
    seconds = micros / SECOND
    for size, unit in ((86_400, "d"), (3_600, "h"), (60, "min")):
        if seconds >= 2 * size:
            return f"{seconds / size:.1f} {unit}"
    return f"{seconds:.1f} s"


vars(drift)["__signature__"] = signature_of(described(), MIRROR, drift)  # read by inspect.signature
