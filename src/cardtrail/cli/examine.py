"""`cardtrail examine`: fires cases at a receiver of notifications and grades it."""

import sys
from pathlib import Path
from typing import Annotated

import uvloop
from cyclopts import Parameter
from rich.console import Console

from cardtrail.cli.kit import Flag
from cardtrail.errors import InputError, SettingError
from cardtrail.sandbox.examine.as_json import json_of
from cardtrail.sandbox.examine.as_junit import junit_of
from cardtrail.sandbox.examine.as_text import Lines, print_cases, print_report
from cardtrail.sandbox.examine.candidate import Candidate
from cardtrail.sandbox.examine.catalogue import chosen
from cardtrail.sandbox.examine.result import Report
from cardtrail.sandbox.examine.run import examine as run

PREFIX = "CARDTRAIL_EXAMINE_"


def _secret(name: str) -> Parameter:
    return Parameter(env_var=PREFIX + name, show_default=False, show_env_var=True)


def examine(  # noqa: PLR0913 -- each is an option of its own
    url: Annotated[str, Parameter(show_default=False)] = "", /, *,
    issuer_id: Annotated[str, _secret("ISSUER_ID")] = "",
    secret: Annotated[str, _secret("SECRET")] = "",
    second_secret: Annotated[str, _secret("SECOND_SECRET")] = "",
    token: Annotated[str, _secret("TOKEN")] = "",
    state: Annotated[str, Parameter(show_default=False)] = "",
    ca_file: Annotated[Path | None, Parameter(show_default=False)] = None,
    only: Annotated[str, Parameter(show_default=False)] = "",
    list_: Annotated[bool, Parameter(name="--list", negative=())] = False,
    json: Annotated[str, Parameter(show_default=False, allow_leading_hyphen=True)] = "",
    junit: Annotated[Path | None, Parameter(show_default=False)] = None,
    quiet: Flag = False,
) -> None:  # fmt: skip
    """Fire cases at a receiver of notifications and grade it: what passed, what failed, why it matters, how to fix it.

    Its cards begin with exam- and never meet real ones. Exit code 0: nothing failed; 1: something did; 2: the receiver
    could not be examined.

    Parameters
    ----------
    url
        Where the receiver is: what stands before /notifications/d1/v2/issuers/….
    issuer_id
        The issuer for whom it receives, 10 characters.
    secret
        The secret that it verifies signatures with (whsec_, or whsk_ of its public key); best from the environment.
    second_secret
        One more secret that it takes, as while secrets are changed.
    token
        A bearer token that it asks for.
    state
        Its read hook: GET STATE/{cardId} answers what it has of a card. Without it what needs that is skipped.
    ca_file
        Authorities to trust besides the usual ones, PEM.
    only
        Cases or themes to try, separated by commas; the beginning of a name is enough.
    list_
        List the cases, and examine nothing.
    json
        Write the report as JSON to this file; - is standard output, instead of the text.
    junit
        Write the report as JUnit XML to this file.
    quiet
        Print what failed and the grade alone.
    """
    cases = chosen([word.strip() for word in only.split(",") if word.strip()])
    console = Console(highlight=False, markup=False, file=sys.stderr if json == "-" else sys.stdout)
    if list_:
        print_cases(console, list(cases))
        return
    if not url:
        raise InputError("URL", "expected, unless --list is given")
    candidate = Candidate(
        url=url.rstrip("/"), issuer_id=issuer_id, state=state, secret=secret, second_secret=second_secret, token=token,
        ca_pem=_bytes_of(ca_file),
    )  # fmt: skip
    candidate.check()
    lines = Lines(console)
    report = uvloop.run(run(candidate, cases, (lambda _: None) if quiet else lines.heard))
    print_report(console, report)
    _write(report, json, junit)
    if not report.is_passed:
        sys.exit(1)


def _bytes_of(path: Path | None) -> bytes:
    try:
        return b"" if path is None else path.read_bytes()
    except OSError as error:
        raise SettingError(f"ca_file: {path}: {error.strerror}") from None


def _write(report: Report, json: str, junit: Path | None) -> None:
    """Write the reports that were asked for. Raises SettingError."""
    if json == "-":
        sys.stdout.write(json_of(report).decode())
    for name, path, data in (
        ("json", Path(json) if json not in {"", "-"} else None, json_of),
        ("junit", junit, junit_of),
    ):
        try:
            if path is not None:
                path.write_bytes(data(report))
        except OSError as error:
            raise SettingError(f"{name}: {path}: {error.strerror}") from None
