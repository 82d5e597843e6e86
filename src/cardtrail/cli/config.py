"""`cardtrail config` and `cardtrail issuer config`: what the settings are in force, and where each comes from."""

import sys
from collections.abc import Collection
from typing import Any

import msgspec
from rich.table import Table

from cardtrail import settings
from cardtrail.cli.kit import Flag
from cardtrail.cli.options import signature_of
from cardtrail.cli.show import print_all, print_json, table_of
from cardtrail.cli.where import ACTOR
from cardtrail.issuer import settings as kit
from cardtrail.platform import settings as platform
from cardtrail.settings import Effective, Unknown


def config(*, strict: Flag = False, json: Flag = False, **given: Any) -> None:
    """Show every setting of the platform as it is in force, and where it comes from.

    Passwords in URLs are masked, and no file is read. Variables of the environment that no setting reads are named,
    with the known name that is nearest.

    Parameters
    ----------
    strict
        End with exit code 1 where a variable is unknown.
    json
        Print JSON instead of a table.
    """
    _tell(platform.Settings, platform.PREFIX, given, strict=strict, as_json=json)


def issuer_config(*, strict: Flag = False, json: Flag = False, **given: Any) -> None:
    """Show every setting of the issuer kit as it is in force, and where it comes from.

    Passwords in URLs are masked, and no file is read. Variables of the environment that no setting reads are named,
    with the known name that is nearest.

    Parameters
    ----------
    strict
        End with exit code 1 where a variable is unknown.
    json
        Print JSON instead of a table.
    """
    _tell(kit.Settings, kit.PREFIX, given, strict=strict, as_json=json)


def _tell(kind: type[msgspec.Struct], prefix: str, given: dict[str, object], *, strict: bool, as_json: bool) -> None:
    found = settings.effective(kind, prefix, given)
    strays = settings.unknown(prefix, _known())
    if as_json:
        print_json({"settings": [each._asdict() for each in found], "unknown": [each._asdict() for each in strays]})
    else:
        print_all(_table(found), *map(_warning, strays))
    if strict and strays:
        sys.exit(1)


def _known() -> Collection[str]:
    """Return every variable that something of ours reads: the kit's begin as the platform's do."""
    return [ACTOR, *(each.variable for each in (*platform.described(), *kit.described()))]


def _table(found: list[Effective]) -> Table:
    table = table_of("setting", "value", "comes from")
    for each in found:
        origin = each.variable if each.source is settings.Source.ENVIRONMENT else str(each.source)
        table.add_row(f"--{each.name.replace('_', '-')}", str(each.value), origin)
    return table


def _warning(stray: Unknown) -> str:
    nearest = f"; did you mean {stray.nearest}?" if stray.nearest else ""
    return f"unknown: {stray.variable} is read by nothing{nearest}"


vars(config)["__signature__"] = signature_of(platform.described(), command=config)  # read by inspect.signature
vars(issuer_config)["__signature__"] = signature_of(kit.described(), command=issuer_config)
