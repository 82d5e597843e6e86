"""The contract: the OpenAPI document as it is, and as a page for people.

`page_of` draws the page from the document alone, so the two can't differ. The page is one static file: no script, no
build, nothing from anywhere else; `docs.html` beside this module is its frame and its looks. The document's texts use
a little Markdown: paragraphs, `- ` lists, `code`, **bold** and the marks [P], [A] and [X].
"""

import json
import re
from collections.abc import Iterable, Iterator
from functools import lru_cache
from html import escape
from importlib.resources import files
from pathlib import Path
from string import Template
from typing import Any
from urllib.parse import quote_plus

import yaml

Node = dict[str, Any]
Schema = Node | bool

METHODS = ("get", "put", "post", "delete", "options", "head", "patch", "trace")
"""Members of a path that are operations, in the order they are shown."""
_MARKS = {"P": "published by D1", "A": "assumed by us where D1 is silent", "X": "our extension"}
_FIRST_ERROR = 400
_PAGE = Template(files("cardtrail.platform").joinpath("docs.html").read_text(encoding="utf-8"))
# libyaml's loader reads the document ten times faster than the one written in Python; not every build has it.
_Loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


def document() -> str:
    """Return the OpenAPI document as YAML: beside this module where it is installed, in docs/ of a checkout."""
    here = Path(__file__)
    installed = here.with_name("openapi.yaml")
    return (installed if installed.exists() else here.parents[3] / "docs/openapi.yaml").read_text(encoding="utf-8")


@lru_cache(1)  # drawing it is most of what a start costs, and a test run starts many
def page_of(openapi_text: str) -> str:
    """Return the HTML page of an OpenAPI 3.1 document in YAML (or JSON). Raises yaml.YAMLError, or KeyError."""
    doc = yaml.load(openapi_text, Loader=_Loader)  # noqa: S506 -- either of the two is a safe loader
    info = doc["info"]
    return _PAGE.substitute(
        title=escape(info["title"]),
        version=escape(info["version"]),
        summary=escape(info.get("summary", "")),
        nav=_nav(doc),
        intro=_prose(info.get("description", "")),
        security="".join(_scheme(name, scheme) for name, scheme in _schemes(doc).items()),
        groups="".join(_group(doc, tag) for tag in doc["tags"]),
        schemas="".join(_schema(doc, name) for name in doc["components"]["schemas"]),
    )


# ── finding the way in the document ──────────────────────────────────────────────────────────────────────────


def _resolved(doc: Node, node: Node) -> Node:
    """Follow `$ref` within the document; what stands beside it wins."""
    while "$ref" in node:
        target: Node = doc
        for step in node["$ref"].removeprefix("#/").split("/"):
            target = target[step.replace("~1", "/").replace("~0", "~")]
        node = target | {name: value for name, value in node.items() if name != "$ref"}
    return node


def _operations(doc: Node, tag: str) -> Iterator[tuple[str, str, Node]]:
    """Yield (method, path, operation) of a tag, in the document's order."""
    for path, item in doc["paths"].items():
        for method in METHODS:
            if method in item and tag in item[method]["tags"]:
                yield method, path, item[method]


def _schemes(doc: Node) -> Node:
    schemes: Node = doc["components"].get("securitySchemes", {})
    return schemes


def _examples(doc: Node, media: Node) -> Iterator[tuple[str, Any]]:
    """Yield (title, value) of the examples of a body."""
    for name, example in media.get("examples", {}).items():
        found = _resolved(doc, example)
        yield found.get("summary", name), found["value"]


# ── text ─────────────────────────────────────────────────────────────────────────────────────────────────────


def _prose(text: str) -> str:
    """Return Markdown of our small kind as HTML; everything else in it is text."""
    return "".join(_block(block) for block in re.split(r"\n\s*\n", text.strip()) if block)


def _block(block: str) -> str:
    if not block.startswith("- "):
        return f"<p>{_inline(block)}</p>"
    items = re.split(r"^- ", block, flags=re.MULTILINE)[1:]
    return f"<ul>{''.join(f'<li>{_inline(item)}</li>' for item in items)}</ul>"


def _inline(text: str) -> str:
    """Return a run of text: what stands between backticks is code and nothing else."""
    parts = re.split(r"`([^`]+)`", text.strip())
    return "".join(_code(part) if place % 2 else _marked(part) for place, part in enumerate(parts))


def _code(text: str) -> str:
    return f"<code>{escape(text)}</code>"


def _marked(text: str) -> str:
    bold = re.sub(r"\*\*(.+?)\*\*", r"<strong>\1</strong>", escape(text))
    return re.sub(r"\[([PAX])\]", lambda found: _mark(found[1]), bold)


def _mark(letter: str) -> str:
    return f'<abbr class="mark {letter}" title="{_MARKS[letter]}">{letter}</abbr>'


def _pre(text: str, label: str) -> str:
    # Focusable, so that the keyboard can scroll it.
    return f'<pre tabindex="0" role="region" aria-label="{escape(label)}"><code>{escape(text)}</code></pre>'


def _rows(rows: Iterable[tuple[str, str]]) -> str:
    """Return (term, meaning) pairs, both HTML, as a list that is two columns where there is room."""
    return "<dl>" + "".join(f"<div><dt>{term}</dt><dd>{meaning}</dd></div>" for term, meaning in rows) + "</dl>"


# ── schemas ──────────────────────────────────────────────────────────────────────────────────────────────────


def _type(schema: Schema) -> str:
    """Return what a value is, in a few words, as HTML."""
    if isinstance(schema, bool):
        return "anything" if schema else "never present"
    if "$ref" in schema:
        name = escape(schema["$ref"].rpartition("/")[2])
        return f'<a href="#schema-{name}">{name}</a>'
    kinds = schema.get("type", [])
    if kinds == "array":
        return f"list of {_type(schema.get('items', True))}"
    return escape(" or ".join([kinds] if isinstance(kinds, str) else kinds)) or "anything"


def _bounds(schema: Node) -> Iterator[str]:
    """Yield the limits of a value, each as HTML."""
    for word, name in (("pattern", "pattern"), ("always", "const"), ("default", "default"), ("format", "format")):
        if name in schema:
            yield f"{word} {_code(_plain(schema[name]))}"
    for word, low, high in (("characters", "minLength", "maxLength"), ("elements", "minItems", "maxItems")):
        if low in schema or high in schema:
            yield _span(schema.get(low), schema.get(high), word)
    if "minimum" in schema or "maximum" in schema:
        yield _span(schema.get("minimum"), schema.get("maximum"), "")
    if "enum" in schema:
        yield "one of " + " ".join(_code(each) for each in schema["enum"] if each is not None)
    if "x-extensible-enum" in schema:
        yield "open list: " + " ".join(map(_code, schema["x-extensible-enum"]))


def _span(low: int | None, high: int | None, word: str) -> str:
    if low is None:
        text = f"at most {high} {word}"
    else:
        text = f"at least {low} {word}" if high is None else f"{low} to {high} {word}"
    return escape(text.strip())


def _plain(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(value)


def _meaning(schema: Schema, text: str) -> str:
    limits = [] if isinstance(schema, bool) else list(_bounds(schema))
    return _prose(text) + (f'<p class="limits">{"; ".join(limits)}</p>' if limits else "")


def _term(name: str, schema: Schema, *, required: bool) -> str:
    need = ' <span class="need">required</span>' if required else ""
    return f'{_code(name)} <span class="type">{_type(schema)}</span>{need}'


def _members(doc: Node, schema: Node) -> Iterator[tuple[str, str]]:
    """Yield the members of an object, those of its `allOf` parts included."""
    for part in (schema, *(_resolved(doc, inner) for inner in schema.get("allOf", ()))):
        for name, member in part.get("properties", {}).items():
            text = "" if isinstance(member, bool) else _resolved(doc, member).get("description", "")
            yield _term(name, member, required=name in part.get("required", ())), _meaning(member, text)


def _choices(schema: Node) -> str:
    titles = [escape(choice["title"]) for choice in schema.get("oneOf", ()) if "title" in choice]
    return f"<p>One of: {' · '.join(titles)}.</p>" if titles else ""


def _schema(doc: Node, name: str) -> str:
    schema = doc["components"]["schemas"][name]
    members = list(_members(doc, schema))
    own = schema if "properties" not in schema else {}
    return (
        f'<section class="schema" id="schema-{escape(name)}"><h3>{escape(name)}</h3>'
        f"{_meaning(own, schema.get('description', ''))}{_choices(schema)}{_rows(members) if members else ''}</section>"
    )


# ── operations ───────────────────────────────────────────────────────────────────────────────────────────────


def _nav(doc: Node) -> str:
    groups = (
        f"<li>{escape(tag['name'])}<ul>{''.join(_link(*each) for each in _operations(doc, tag['name']))}</ul></li>"
        for tag in doc["tags"]
    )
    return "".join(groups)


def _link(method: str, _: str, operation: Node) -> str:
    return (
        f'<li><a href="#{escape(operation["operationId"])}">{_method(method)} '
        f"<span>{escape(operation['summary'])}</span></a></li>"
    )


def _method(method: str) -> str:
    return f'<b class="method {method}">{method.upper()}</b>'


def _scheme(name: str, scheme: Node) -> str:
    return f'<section id="security-{escape(name)}"><h3>{escape(name)}</h3>{_prose(scheme["description"])}</section>'


def _group(doc: Node, tag: Node) -> str:
    inner = "".join(_operation(doc, *each) for each in _operations(doc, tag["name"]))
    return f"<section><h2>{escape(tag['name'])}</h2>{_prose(tag.get('description', ''))}{inner}</section>"


def _operation(doc: Node, method: str, path: str, operation: Node) -> str:
    name = escape(operation["operationId"])
    return (
        f'<article id="{name}" aria-labelledby="{name}-title">'
        f'<h3 id="{name}-title"><a href="#{name}">{escape(operation["summary"])}</a></h3>'
        f'<p class="path">{_method(method)} {_path(path)}</p>'
        f"{_prose(operation.get('description', ''))}{_access(operation)}"
        f"{''.join(_sample(sample) for sample in operation.get('x-codeSamples', ()))}"
        f"{_parameters(doc, operation)}{_request(doc, operation)}{_responses(doc, operation)}</article>"
    )


def _path(path: str) -> str:
    """Return a path that may be broken after a slash, where the page is narrow."""
    return f"<code>{'/<wbr>'.join(map(escape, path.split('/')))}</code>"


def _access(operation: Node) -> str:
    needs = operation.get("security", [])
    if not needs:
        return '<p class="access">No token is needed.</p>'
    ways = (
        f'<a href="#security-{escape(name)}">{escape(name)}</a> with {" ".join(map(_code, scopes)) or "no scope"}'
        for need in needs
        for name, scopes in need.items()
    )
    return f'<p class="access">Needs {" or ".join(ways)}.</p>'


def _sample(sample: Node) -> str:
    label = sample["label"]
    return f"<h4>Try it</h4><p>{_inline(label)}</p>{_pre(sample['source'].rstrip(), label)}"


def _parameters(doc: Node, operation: Node) -> str:
    found = [_resolved(doc, parameter) for parameter in operation.get("parameters", ())]
    return f"<h4>Parameters</h4>{_rows(_parameter(doc, each) for each in found)}" if found else ""


def _parameter(doc: Node, parameter: Node) -> tuple[str, str]:
    schema = _resolved(doc, parameter["schema"])
    need = ' <span class="need">required</span>' if parameter.get("required") else ""
    term = f'{_code(parameter["name"])} <span class="type">{escape(parameter["in"])}, {_type(schema)}</span>{need}'
    example = f"<p>Example: {_code(_plain(parameter['example']))}</p>" if "example" in parameter else ""
    return term, _meaning(schema, parameter.get("description", "")) + example


def _request(doc: Node, operation: Node) -> str:
    content = operation.get("requestBody", {}).get("content", {})
    bodies = "".join(_body(doc, kind, media, "Request") for kind, media in content.items())
    return f"<h4>Request</h4>{bodies}" if bodies else ""


def _body(doc: Node, kind: str, media: Node, label: str) -> str:
    shown = (
        f"<details><summary>{_inline(title)}</summary>{_pre(_written(kind, value), f'{label}: {title}')}</details>"
        for title, value in _examples(doc, media)
    )
    first, *others = shown
    opened = first.replace("<details>", "<details open>", 1)
    return f"<p>{_code(kind)}: {_type(media['schema'])}</p>{opened}{''.join(others)}"


def _written(kind: str, value: str | Node) -> str:
    """Return an example as it looks on the wire, with lines broken for reading."""
    if isinstance(value, str):
        return value
    if kind == "application/x-www-form-urlencoded":
        return "\n&".join(f"{name}={quote_plus(text)}" for name, text in value.items())
    return json.dumps(value, indent=2, ensure_ascii=False)


def _responses(doc: Node, operation: Node) -> str:
    found = {int(status): _resolved(doc, answer) for status, answer in operation["responses"].items()}
    good = "".join(_answer(doc, status, answer) for status, answer in found.items() if status < _FIRST_ERROR)
    bad = "".join(_error(doc, status, answer) for status, answer in found.items() if status >= _FIRST_ERROR)
    head = '<thead><tr><th scope="col">Status</th><th scope="col">When</th><th scope="col">Body</th></tr></thead>'
    table = f'<h4>Errors</h4><table class="errors">{head}<tbody>{bad}</tbody></table>' if bad else ""
    return f"<h4>Answer</h4>{good}{table}"


def _answer(doc: Node, status: int, answer: Node) -> str:
    bodies = "".join(_body(doc, kind, media, f"Answer {status}") for kind, media in answer.get("content", {}).items())
    return (
        f'<div class="answer"><div class="line"><b class="status">{status}</b> {_prose(answer["description"])}</div>'
        f"{_headers(doc, answer)}{bodies}</div>"
    )


def _headers(doc: Node, answer: Node) -> str:
    headers = {name: _resolved(doc, header) for name, header in answer.get("headers", {}).items()}
    rows = (
        (_code(name), _prose(header["description"]) + f"<p>Example: {_code(_plain(header['example']))}</p>")
        for name, header in headers.items()
    )
    names = ", ".join(map(_code, headers))
    return f"<details><summary>Headers: {names}</summary>{_rows(rows)}</details>" if names else ""


def _error(doc: Node, status: int, answer: Node) -> str:
    bodies = [
        f"<li>{_code(json.dumps(value, ensure_ascii=False))}</li>"
        for media in answer.get("content", {}).values()
        for _, value in _examples(doc, media)
    ]
    extra = [_code(name) for name in answer.get("headers", {}) if name.lower() != "x-correlation-id"]
    with_headers = f"<p>With {' and '.join(extra)}.</p>" if extra else ""
    return (
        f'<tr><th scope="row"><b class="status">{status}</b></th>'
        f"<td>{_prose(answer['description'])}{with_headers}</td><td><ul>{''.join(bodies)}</ul></td></tr>"
    )
