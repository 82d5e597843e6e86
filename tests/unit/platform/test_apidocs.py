"""The page for people is drawn from the document alone, complete and harmless."""

import re
from html.parser import HTMLParser

import pytest
import yaml

from cardtrail.platform.apidocs import METHODS, document, page_of

CONTRACT = yaml.safe_load(document())
PAGE = page_of(document())
VOID = {"meta", "wbr", "br"}


class Outline(HTMLParser):
    """What a page holds: ids, links, text; complains about tags that are not closed in their order."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.ids: list[str] = []
        self.links: list[str] = []
        self.attributes: list[str] = []
        self.tags: set[str] = set()
        self.text = ""
        self._open: list[str] = []
        self.feed(page)
        self.close()
        assert not self._open

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.attributes += [name for name, _ in attrs]
        self.ids += [value for name, value in attrs if name == "id" and value]
        self.links += [value for name, value in attrs if name in {"href", "src"} and value]
        if tag not in VOID:
            self._open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data


OUTLINE = Outline(PAGE)
OPERATIONS = [
    (method, path, item[method]) for path, item in CONTRACT["paths"].items() for method in METHODS if method in item
]


@pytest.mark.parametrize(
    ("method", "path", "operation"), OPERATIONS, ids=[each["operationId"] for *_, each in OPERATIONS]
)
def test_every_operation_is_on_the_page(method: str, path: str, operation: dict[str, object]) -> None:
    assert operation["operationId"] in OUTLINE.ids
    assert f"{method.upper()} {path}" in OUTLINE.text
    assert str(operation["summary"]) in OUTLINE.text


def test_the_curl_of_the_contract_is_on_the_page() -> None:
    assert '"https://{base_url}/issuers/{issuerId}/physicalcards/{cardId}/productionstatus"' in OUTLINE.text


def test_every_schema_is_on_the_page() -> None:
    assert {f"schema-{name}" for name in CONTRACT["components"]["schemas"]} <= set(OUTLINE.ids)


def test_links_of_the_page_lead_into_it_or_to_the_document() -> None:
    assert {link.removeprefix("#") for link in OUTLINE.links} <= {*OUTLINE.ids, "/openapi.yaml"}


def test_ids_of_the_page_are_unique() -> None:
    assert len(set(OUTLINE.ids)) == len(OUTLINE.ids)


def test_the_page_needs_nothing_from_anywhere_and_runs_nothing() -> None:
    assert not {"script", "link", "img", "iframe"} & OUTLINE.tags
    assert not [name for name in OUTLINE.attributes if name.startswith("on")]
    assert not re.search(r"@import|url\(", PAGE)


EVIL = '<script>alert("x")</script>'
EVIL_SCHEMA = {
    "type": EVIL, "pattern": EVIL, "format": EVIL, "const": EVIL, "default": EVIL, "minLength": EVIL, "maximum": EVIL,
    "x-extensible-enum": [EVIL], "oneOf": [{"title": EVIL}], "items": {"$ref": f"#/components/schemas/{EVIL}"},
}  # fmt: skip
HOSTILE = {
    "openapi": "3.1.0",
    "info": {"title": EVIL, "version": EVIL, "summary": EVIL, "description": f"{EVIL}\n\n- **{EVIL}** `{EVIL}` [P]"},
    "tags": [{"name": EVIL, "description": EVIL}],
    "paths": {
        f"/{EVIL}": {
            "post": {
                "operationId": EVIL, "tags": [EVIL], "summary": EVIL, "description": EVIL,
                "security": [{EVIL: [EVIL]}],
                "x-codeSamples": [{"lang": EVIL, "label": EVIL, "source": EVIL}],
                "parameters": [{"name": EVIL, "in": EVIL, "schema": EVIL_SCHEMA, "example": EVIL}],
                "requestBody": {"content": {EVIL: {"schema": {}, "examples": {EVIL: {"value": {EVIL: EVIL}}}}}},
                "responses": {
                    "200": {"description": EVIL, "headers": {EVIL: {"description": EVIL, "example": EVIL}}},
                    "400": {
                        "description": EVIL,
                        "content": {EVIL: {"schema": {}, "examples": {EVIL: {"value": {EVIL: EVIL}}}}},
                    },
                },
            }
        }
    },
    "components": {
        "securitySchemes": {EVIL: {"description": EVIL}},
        "schemas": {
            EVIL: {"description": EVIL, **EVIL_SCHEMA},
            "b": {"required": [EVIL], "properties": {EVIL: {"enum": [EVIL], "description": EVIL}, "no": False}},
        },
    },
}  # fmt: skip


def test_whatever_the_document_says_is_text() -> None:
    page = page_of(yaml.safe_dump(HOSTILE))

    assert "<script" not in page
    assert EVIL in Outline(page).text


def test_what_stands_in_backticks_is_code_and_nothing_else() -> None:
    told = HOSTILE | {"info": {"title": "t", "version": "1", "description": "`**a** [P]` **b** [X]\n\n- one\n- two"}}

    page = page_of(yaml.safe_dump(told))

    assert "<p><code>**a** [P]</code> <strong>b</strong> <abbr " in page
    assert "<ul><li>one</li><li>two</li></ul>" in page
