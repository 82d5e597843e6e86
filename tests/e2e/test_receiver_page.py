"""The page about the receiver tells the truth: its programs run, its numbers are those of the code."""

import re
import runpy
import time
from collections.abc import Callable, Iterator
from io import BytesIO
from pathlib import Path
from typing import Any
from wsgiref.util import setup_testing_defaults

import pytest

from cardtrail.issuer import asgi, message, receive, token, way
from cardtrail.protocol import signature
from tests.serving import ISSUER
from tests.signed import PATH, SECRET, body_of, operation, signed

PAGE = (Path(__file__).parents[2] / "docs/receiver.md").read_text()
Call = Callable[..., str]


@pytest.fixture
def page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[dict[str, Any]]:
    """What the page's programs define, run one behind the other."""
    for name, value in (
        ("MIRROR", f"sqlite:///{tmp_path}/mirror.db"), ("ISSUER_ID", ISSUER), ("WEBHOOK_SECRET", SECRET),
    ):  # fmt: skip
        monkeypatch.setenv(name, value)
    program = tmp_path / "program.py"
    program.write_text("\n".join(re.findall(r"^```python\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)))
    names = runpy.run_path(str(program))
    yield names
    names["mirror"].close()


def call(page: dict[str, Any], body: bytes, path: str = PATH, length: int | None = None, **environ: str) -> str:
    """Call the WSGI application as a server does; return the status line."""
    told: list[str] = []
    sent = {name: value for name, value in signed(body, time.time()).items() if name != "content-type"}
    headers = {f"HTTP_{name.upper().replace('-', '_')}": value for name, value in sent.items()}
    setup_testing_defaults(headers)
    headers |= {"REQUEST_METHOD": "POST", "PATH_INFO": path, "CONTENT_LENGTH": str(length or len(body))}
    answer = page["application"](
        {**headers, "wsgi.input": BytesIO(body), **environ}, lambda status, _headers: told.append(status)
    )
    b"".join(answer)
    return told[0]


def test_the_ten_lines_of_wsgi_take_notifications(page: dict[str, Any]) -> None:
    assert call(page, body_of(operation())) == "204 No Content"
    assert page["mirror"].card(ISSUER, "card-1")[0].known.stage == "CARD_PROD_READY"
    assert call(page, body_of(operation()), HTTP_WEBHOOK_ID="another") == "401 Unauthorized"
    assert call(page, body_of(operation()), CONTENT_TYPE="text/plain") == "415 Unsupported Media Type"
    assert call(page, b" " * (way.MAX_BODY + 10)) == "413 Request Entity Too Large"
    assert call(page, body_of(), PATH.replace(ISSUER, "OTHER00001")) == "404 Not Found"


@pytest.mark.parametrize(
    ("told", "number"),
    [
        (r"good for (\d+) seconds in either", signature.TOLERANCE),
        (r"must end within (\d+) s", receive.CHECK_SECONDS),
        (r"good for\s+(\d+) minutes", token.LIFETIME // 60),
        (r"did not come within (\d+) seconds", asgi.BODY_SECONDS),
        (r"more than (\d) MiB", way.MAX_BODY >> 20),
        (r"more than ([\d,]+) elements", message.MAX_ELEMENTS),
        (r"([\d_]+)\)  # one more than is taken", way.MAX_BODY + 1),
    ],
)
def test_its_numbers_are_those_of_the_code(told: str, number: float) -> None:
    [found] = re.findall(told, PAGE)
    assert float(found.replace(",", "")) == number


def test_it_names_every_argument_of_a_trust_and_the_token_endpoint() -> None:
    assert f"`POST {asgi.TOKEN_PATH}`" in PAGE
    named = set(re.findall(r"`(\w+)=", PAGE)) | {"tolerance"}
    assert named >= {"secrets", "client_id", "client_secrets", "authenticate", "certificates"}
