"""The few pages that the door shows itself."""

from functools import cache
from typing import Any

import jinja2
from starlette.responses import HTMLResponse, Response

from cardtrail.errors import CardtrailError
from cardtrail.protocol.problem import problem_of

SIDE = "cardtrail"
"""What a service is called on its pages, unless it says otherwise."""


@cache
def _templates() -> jinja2.Environment:
    loader = jinja2.PackageLoader("cardtrail.pages", "templates")
    return jinja2.Environment(loader=loader, autoescape=True, undefined=jinja2.StrictUndefined)


def page(name: str, status: int = 200, **context: Any) -> Response:
    """Return a page made from a template; whatever it shows is escaped."""
    return HTMLResponse(_templates().get_template(name).render({"side": SIDE} | context), status)


def refusal(status: int, text: str, headers: dict[str, str] | None = None) -> Response:
    """Return a page that says why not."""
    response = page("refused.html", status, text=text)
    response.headers.update(headers or {})
    return response


def refusal_of(error: CardtrailError) -> Response:
    """Return a page that tells of an error; one of the house says no more than that."""
    found = problem_of(error)
    told = {name.decode(): value.decode() for name, value in found.headers if name == b"retry-after"}
    text = "Something went wrong here; try again in a moment." if found.status >= 500 else str(error)  # noqa: PLR2004 -- an HTTP status
    return refusal(found.status, text, told)
