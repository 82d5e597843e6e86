"""Runs all checks, each for a bounded time; what one cannot find out is what it has found."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from contextlib import closing

from cardtrail.errors import CardtrailError
from cardtrail.platform.auth import wall_clock
from cardtrail.platform.doctor import files, lanes, people, stock
from cardtrail.platform.doctor.finding import Case, Finding, Level, bad, ok, warn
from cardtrail.platform.settings import Settings, settings_of, steps_of
from cardtrail.platform.store import current_version, open_as_it_is, version_of

PATIENCE = 60.0
"""Longest wait for one check, seconds."""
_Check = Callable[[Case], Awaitable[Finding]]

ANY_SCHEMA: Mapping[str, _Check] = {
    "schema": stock.schema,
    "engine": stock.engine,
    "pages": stock.pages,
    "space": stock.space,
    "oidc": people.provider,
}
"""Checks that any store can take, by name."""
OUR_SCHEMA: Mapping[str, _Check] = {
    "writable": stock.writable, "clock": stock.clock, "secret key": files.secret_key, "keys": stock.keys,
    "epoch": stock.epoch, "retention": stock.retention, "waiting": stock.waiting, "sending": lanes.sending,
    "reach": lanes.reach,
}  # fmt: skip
"""Checks that need the schema of this program, by name."""


def findings_of(given: Mapping[str, object], environment: Mapping[str, str] | None = None) -> list[Finding]:
    """Look at everything; return what was found, in the order of the checks."""
    try:
        settings = settings_of(given, environment)
        steps_of(settings.delivery_steps)
    except CardtrailError as error:
        return [bad("settings", str(error), "see cardtrail config and docs/settings.md")]
    return [ok("settings", "can be read"), *files.of_files(settings), *_of_store(settings)]


def _of_store(settings: Settings) -> list[Finding]:
    try:
        with closing(open_as_it_is(settings.database)) as db:
            return asyncio.run(_all(Case(settings, db, wall_clock())))
    except CardtrailError as error:
        return [bad("store", str(error), "see to CARDTRAIL_DATABASE and to the server; the first start makes a store")]


async def _all(case: Case) -> list[Finding]:
    found = [await _checked(name, check, case) for name, check in ANY_SCHEMA.items()]
    if await case.db.read(version_of) != current_version():
        return [*found, warn("the rest", "needs the schema of this program", "ask again after the service was started")]
    return found + [await _checked(name, check, case) for name, check in OUR_SCHEMA.items()]


async def _checked(name: str, check: _Check, case: Case) -> Finding:
    try:
        async with asyncio.timeout(PATIENCE):
            return await check(case._replace(now=wall_clock()))
    except TimeoutError:
        return Finding(name, Level.BAD, f"no answer in {PATIENCE:.0f} s", "see to the store and its server")
    except CardtrailError as error:
        return bad(name, str(error), "see to the store, and to the setting that is named")
    except Exception as error:  # noqa: BLE001 -- a store that is not as ours are is what this is for
        return bad(name, f"{type(error).__name__}: {error}", "see whether the database is one of cardtrail alone")
