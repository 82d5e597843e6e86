"""The record as a page: one file of HTML that needs nothing else, for a browser of any width, light or dark."""

import hashlib
from base64 import b64encode
from collections.abc import Sequence
from html import escape
from importlib import resources

import msgspec

from cardtrail.sandbox.wire.content import cards_of, document_of
from cardtrail.sandbox.wire.kinds import HOPS
from cardtrail.sandbox.wire.record import Exchange, Message

MAX_SHOWN = 500
"""Most exchanges on a page; the newest are shown."""
MAX_BODY = 16_384
"""Most of a body that is shown, characters."""
MAX_CARDS = 1_000
"""Most cards of one exchange that it can be found by."""
NAMED = 3
"""Most cards that are named in the line of an exchange."""
_REFUSED = 400


def page_of(exchanges: Sequence[Exchange]) -> str:
    """Return the page, the newest exchange first. Nothing that crossed the wire is taken for HTML."""
    style, script = _text("page.css"), _text("page.js")
    hops = "".join(f'<option title="{escape(text)}">{hop}</option>' for hop, text in HOPS.items())
    rows = "\n".join(map(_row, reversed(exchanges[-MAX_SHOWN:])))
    return f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="{policy_of(style, script)}">
<title>What crossed the wire · cardtrail sandbox</title>
<style>{style}</style>
</head>
<body>
<header>
<h1>What crossed the wire</h1>
<p>The newest first. What a fault has changed is shown as it arrived; credentials are not shown.</p>
<form>
<label>hop <select name="hop"><option value="">all</option>{hops}</select></label>
<label>card <input name="card" placeholder="beginning of its id" size="20"></label>
<label><input type="checkbox" name="struck"> only what a fault struck</label>
<output></output>
</form>
</header>
<main>
{rows or "<p>Nothing has crossed the wire yet.</p>"}
</main>
<script>{script}</script>
</body>
</html>
"""


def policy_of(style: str, script: str) -> str:
    """Return the content security policy that lets this style and this script in, and nothing else."""
    return f"default-src 'none'; style-src '{_hash_of(style)}'; script-src '{_hash_of(script)}'; base-uri 'none'"


def _hash_of(text: str) -> str:
    return f"sha256-{b64encode(hashlib.sha256(text.encode()).digest()).decode()}"


def _text(name: str) -> str:
    return resources.files("cardtrail.sandbox.wire").joinpath(name).read_text("utf-8")


def _row(exchange: Exchange) -> str:
    faults = "".join(f'<span class="fault">{escape(fault)}</span>' for fault in exchange.faults)
    what = f"{exchange.method} {exchange.path}" if exchange.method else "an event that was not sent as it is"
    cards = cards_in(exchange)
    named = f'<span class="cards">{escape(_listed(cards))}</span>' if cards else ""
    sides = _side("to the other side", exchange.request) + _side("and back", exchange.answer)
    return (
        f'<details data-hop="{exchange.hop}" data-cards="{escape(" ".join(cards))}"'
        f' data-faults="{escape(" ".join(exchange.faults))}"><summary>'
        f'<span class="number">{exchange.number}</span><span class="time">{escape(exchange.at[11:23])}</span>'
        f'<span class="hop">{exchange.hop}</span><span class="path">{escape(what)} {named}</span>'
        f'<span class="status {_mood(exchange)}">{exchange.status or "–"}</span>'
        f'<span class="ms">{exchange.ms:.1f} ms</span><span class="faults">{faults}</span></summary>'
        f'<div class="sides">{sides}</div></details>'
    )


def _listed(cards: list[str]) -> str:
    more = f" and {len(cards) - NAMED} more" if len(cards) > NAMED else ""
    return ", ".join(cards[:NAMED]) + more


def _mood(exchange: Exchange) -> str:
    if not exchange.status:
        return "none"
    return "good" if exchange.status < _REFUSED else "bad"


def cards_in(exchange: Exchange) -> list[str]:
    """Return the cards by which an exchange can be found: in its path and in either body."""
    found: set[str] = set()
    for message in (exchange.request, exchange.answer):
        found |= cards_of(document_of(message.body.encode()))
    parts = exchange.path.split("/")
    lower = [part.lower() for part in parts]
    if "physicalcards" in lower[:-2]:
        found.add(parts[lower.index("physicalcards") + 1])
    return sorted(found)[:MAX_CARDS]


def _side(title: str, message: Message) -> str:
    headers = "".join(f"<dt>{escape(name)}</dt><dd>{escape(value)}</dd>" for name, value in message.headers.items())
    body, more = _shown(message)
    note = f"<p>{more}</p>" if more else ""
    return f"<section><h2>{title}</h2><dl>{headers}</dl>{f'<pre>{escape(body)}</pre>' if body else ''}{note}</section>"


def _shown(message: Message) -> tuple[str, str]:
    """Return the body as it is shown, and what is to be said of what is not."""
    try:
        text = msgspec.json.format(message.body.encode(), indent=2).decode() if message.body else ""
    except (msgspec.DecodeError, RecursionError):
        text = message.body
    if len(text) > MAX_BODY:
        return text[:MAX_BODY], f"The first {MAX_BODY} characters of {len(text)}."
    return text, "" if message.whole else f"The beginning of {message.size} bytes."
