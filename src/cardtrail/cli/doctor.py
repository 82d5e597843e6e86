"""`cardtrail doctor`: is this deployment well, and if not, what is to be done."""

import sys
from typing import Any

from cardtrail.cli.kit import Flag
from cardtrail.cli.options import signature_of
from cardtrail.cli.show import plain, print_all, print_json, table_of
from cardtrail.platform.doctor.examine import findings_of
from cardtrail.platform.doctor.finding import Level
from cardtrail.platform.settings import described


def doctor(*, json: Flag = False, **given: Any) -> None:
    """Look at a deployment and say what to do: settings, files, store, provider, keys, clock, retention, endpoints.

    Nothing is changed and nothing is sent; endpoints are only connected to, a hundred at most, and the provider of
    OpenID Connect is asked for what it publishes. Exit code 1 where something is bad; what is warned of works, but not
    for ever or not for all.

    Parameters
    ----------
    json
        Print JSON instead of a table.
    """
    found = findings_of(given)
    if json:
        print_json([each._asdict() for each in found])
    else:
        table = table_of("check", "", "found", "what to do")
        for each in found:
            table.add_row(each.check, each.level, plain(each.text), each.remedy)
        print_all(table)
    if any(each.level is Level.BAD for each in found):
        sys.exit(1)


vars(doctor)["__signature__"] = signature_of(described(), command=doctor)  # read by inspect.signature
