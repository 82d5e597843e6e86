"""Checks of the store itself: its engine, its schema, its disk, its clock, and whether what is old goes."""

import asyncio
import shutil

from cardtrail.db import Transaction, path_of
from cardtrail.platform.doctor.finding import Case, Finding, bad, ok, warn
from cardtrail.platform.epoch import find_epoch, is_elsewhere
from cardtrail.platform.outbox import NotificationState
from cardtrail.platform.signing import MAX_AGE
from cardtrail.platform.store import current_version, version_of
from cardtrail.platform.sweep import DAY

CHECK_SECONDS = 5.0
"""Longest look at a SQLite file's pages."""
CLOCK_WARN, CLOCK_BAD = 2_000_000, 30_000_000
"""How far the database's clock may be from ours, µs. Leases are told by the database's, tokens by ours."""
LARGE_LOG = 1_000_000_000
"""A SQLite log of so many bytes says that somebody reads without end."""
LITTLE_SPACE = 1_000_000_000
"""Bytes that should be free beside a SQLite file."""
MANY_WAITING = 10_000
"""So many cards, parcels and operations without an order say that orders do not arrive."""


class _RolledBack(Exception):
    """Takes a write back."""


async def schema(case: Case) -> Finding:
    """Tell whether the schema is this program's."""
    found, wanted = await case.db.read(version_of), current_version()
    if found == wanted:
        return ok("schema", f"version {found}")
    if found > wanted:
        return bad("schema", f"version {found}, this program knows {wanted}", "upgrade cardtrail")
    return warn("schema", f"version {found}, this program's is {wanted}", "the next start of the service migrates it")


async def writable(case: Case) -> Finding:
    """Write, and take it back."""

    def work(tx: Transaction) -> None:
        tx.run("set_meta", name="doctor", value="was here")
        raise _RolledBack

    try:
        await case.db.transact(work)
    except _RolledBack:
        return ok("writable", "a write was taken back again")
    return bad("writable", "a write was not taken back", "use the database of one cardtrail only")


async def engine(case: Case) -> Finding:
    """Tell the engine's version, and whether it keeps what it has committed."""
    facts = await case.db.read(lambda tx: tx.facts())
    text = ", ".join(f"{name} {value}" for name, value in facts.items())
    lossy = [name for name in ("fsync", "synchronous_commit", "full_page_writes") if facts.get(name) == "off"]
    if lossy:
        return bad("engine", text, f"switch {', '.join(lossy)} on: accepted events could be lost")
    return ok("engine", text)


async def pages(case: Case) -> Finding:
    """Let SQLite look through its pages for some seconds; PostgreSQL checks each that it reads."""
    defects = await case.db.read(lambda tx: tx.defects(CHECK_SECONDS))
    if defects:
        return bad("pages", "; ".join(defects[:3]), "stop the service and restore the last backup")
    return ok("pages", f"no defect was found in {CHECK_SECONDS:.0f} s at most")


async def space(case: Case) -> Finding:
    """Tell how large a SQLite file's log is and what is free beside it."""
    if case.db.engine != "sqlite":
        return ok("space", "PostgreSQL's own business: see to its disk where it runs")
    path = path_of(case.settings.database)
    log = path.with_name(f"{path.name}-wal")
    size, free = (
        log.stat().st_size if log.exists() else 0,
        (await asyncio.to_thread(shutil.disk_usage, path.parent)).free,
    )
    text = f"{path.stat().st_size:,} bytes, its log {size:,}, free {free:,}"
    if free < LITTLE_SPACE:
        return warn("space", text, "make room: a full disk refuses every event")
    return warn("space", text, "end what reads without end") if size > LARGE_LOG else ok("space", text)


async def clock(case: Case) -> Finding:
    """Compare the database's clock with ours; `now` of the case is taken right before."""
    [(there,)] = await case.db.read(lambda tx: tx.all("clock"))
    apart = abs(there - case.now)
    text = f"{apart / 1_000_000:.1f} s between the database and this machine"
    if apart >= CLOCK_BAD:
        return bad("clock", text, "let both follow the same time servers")
    return warn("clock", text, "let both follow the same time servers") if apart >= CLOCK_WARN else ok("clock", text)


async def keys(case: Case) -> Finding:
    """Tell how old the key is that tokens are signed with, and who has none to sign assertions with."""
    ages = [row[3] for row in await case.db.read(lambda tx: tx.all("signing_keys"))]
    age = max(0, case.now - max(ages, default=case.now)) // DAY
    holders = {row[0] for row in await case.db.read(lambda tx: tx.all("active_keys"))}
    parties = await case.db.read(lambda tx: tx.all("all_parties"))
    without = [row[0] for row in parties if row[2] == "ACTIVE" and row[0] not in holders]
    if age > MAX_AGE // DAY + 1:
        return warn("keys", f"the newest key of the platform is {age} days old", "run the service: it makes a new one")
    if without:
        names = f"{', '.join(without[:5])}{' …' if len(without) > 5 else ''}"  # noqa: PLR2004 -- as many as are shown
        return warn("keys", f"without a key, so without a token: {names}", "cardtrail party key add")
    return ok("keys", f"{len(ages)} of the platform, the newest {age} days old; {len(parties)} parties")


async def epoch(case: Case) -> Finding:
    """Tell the epoch, and whether the database was restored or failed over since a service ran."""
    found = await find_epoch(case.db)
    if await case.db.read(is_elsewhere):
        return warn("epoch", f"{found}; the database has another home than it had", "the next start renews it")
    return ok("epoch", found)


async def retention(case: Case) -> Finding:
    """Tell whether what was settled long ago goes in time."""
    days = case.settings.settled_days
    before = case.now - (days + 1) * DAY
    state = NotificationState.DELIVERED.value
    old = await case.db.read(lambda tx: tx.all("old_notifications", state=state, before=before, most=1))
    if days and old:
        text = f"delivered notifications are older than {days} days and one"
        return warn("retention", text, "run cardtrail serve, or cardtrail retention run")
    return ok("retention", f"nothing that was delivered is older than {days} days and one" if days else "all is kept")


async def waiting(case: Case) -> Finding:
    """Tell how much waits for an order that has not come."""
    [(count,)] = await case.db.read(lambda tx: tx.all("count_waiting", most=MANY_WAITING))
    if count >= MANY_WAITING:
        text = f"{count:,} cards, parcels and operations or more wait for their order"
        return warn("waiting", text, "see whether orders arrive: sites may know other ids than issuers")
    return ok("waiting", f"{count:,} cards, parcels and operations wait for their order")
