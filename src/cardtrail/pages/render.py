"""Pages from templates, and the files that they need: all from this package, nothing from elsewhere."""

import hashlib
from collections.abc import Mapping
from importlib import resources
from typing import Any
from urllib.parse import urlencode

from jinja2 import Environment, PackageLoader, StrictUndefined
from starlette.requests import Request
from starlette.responses import Response

from cardtrail.pages import chart
from cardtrail.pages.words import ago, days, lasting, number, since, when, word_of

STATIC = {
    "style.css": "text/css; charset=utf-8", "htmx.min.js": "text/javascript; charset=utf-8",
    "sse.min.js": "text/javascript; charset=utf-8", "keep.js": "text/javascript; charset=utf-8",
    "icon.svg": "image/svg+xml",
}  # fmt: skip
"""The files there are, with their types; nothing else is served."""
_A_WHILE = "public, max-age=600"


def _bytes_of(name: str) -> bytes:
    return resources.files("cardtrail.pages").joinpath("static", name).read_bytes()


def _merged(given: Mapping[str, str], name: str, value: str) -> str:
    """Return a query in which one of the given filters has another value."""
    return urlencode({**given, name: value})


class Renderer:
    """Renders templates; what they are given is escaped, and what is not given is an error."""

    def __init__(self) -> None:
        self._files = {name: _bytes_of(name) for name in STATIC}
        self._tags = {
            name: f'"{hashlib.blake2b(data, digest_size=8).hexdigest()}"' for name, data in self._files.items()
        }
        self._env = Environment(
            loader=PackageLoader("cardtrail.pages"), autoescape=True, undefined=StrictUndefined, trim_blocks=True,
            lstrip_blocks=True,
        )  # fmt: skip
        self._env.globals |= {"chart": chart}
        self._env.filters |= {
            "merged": _merged, "when": when, "ago": ago, "days": days, "lasting": lasting, "since": since,
            "number": number, "word": word_of,
        }  # fmt: skip

    def page(self, template: str, values: Mapping[str, Any], status: int = 200) -> Response:
        """Answer a page."""
        return Response(self.text(template, values), status, media_type="text/html")

    def text(self, template: str, values: Mapping[str, Any]) -> str:
        """Return a page's text."""
        return self._env.get_template(template).render(values)

    async def static(self, request: Request) -> Response:
        """Answer a file of the pages, or that the browser has it already."""
        name = request.path_params["name"]
        if name not in self._files:
            return Response(status_code=404)
        headers = {"cache-control": _A_WHILE, "etag": self._tags[name]}
        if request.headers.get("if-none-match") == self._tags[name]:
            return Response(status_code=304, headers=headers)
        return Response(self._files[name], media_type=STATIC[name], headers=headers)
