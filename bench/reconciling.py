"""The table about the reconciler: cards compared with a server that has nothing but the published contract."""

import asyncio
import json
import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from statistics import median

from bench.child import LOAD_CORE, SERVER_CORE, output_of, pinned
from bench.ours import NAMES, place
from bench.rounds import Contestant, Measure, Row, alternate, share, show, spread
from bench.servers import Ground
from cardtrail.issuer.expect import Expected, expect
from cardtrail.issuer.mirror import AsyncMirror
from tests.strict.running import InProcess, strict_in_process

CARDS = 20_000
"""Cards of a turn."""
MANY = (100_000, 1_000_000)
"""Cards of the mirrors of which memory is measured."""
COMPARED = 100_000
"""So many of them are compared: the rest is there to be passed over."""
CHANGED = 0.3
"""Share of the cards that change, and of which nobody is notified, before a turn."""
SECONDS = 120.0
"""Longest turn."""


@dataclass(frozen=True)
class Compared:
    """One turn: cards a second, CPU µs of a card in the reconciler's process, changed cards, peak memory in MiB."""

    rate: float
    cpu: float
    changed: int
    peak: float


def reconciled(engines: Sequence[str], ground: Ground, measure: Measure) -> None:
    """Measure and print how fast cards are compared, beside the bare HTTP client; then how much memory that takes."""
    with strict_in_process(ground.folder / "strict.pem", "--cards", str(CARDS), "--seed", "7") as server:
        _alone(server)
        server.advance(CARDS * 12, tell=False)
        cards = _known(server, ground.folder / "cards.jsonl")
        mirrors = {engine: place(engine, "reconciled", ground).url for engine in engines}
        for url in mirrors.values():
            asyncio.run(_expect(url, server.issuer_id, cards))
            _turn("sweep", server, ground, mirror=url)  # the first pass fills the mirror
        contestants: list[Contestant[Compared]] = [
            ("bare HTTP client", lambda _: _turn("bare", server, ground)),
            ("the kit's client", lambda _: _turn("ask", server, ground)),
        ]
        for engine, url in mirrors.items():
            name = f"reconciler on {NAMES[engine]}"
            contestants.append((f"{name}, nothing changed", partial(_settled, server, ground, url)))
            contestants.append((f"{name}, many changed", partial(_moved, server, ground, url)))
        _show(alternate(contestants, measure.rounds, measure.say), measure)
    _memory(ground, measure)


def _alone(server: InProcess) -> None:
    """Keep the server on the load's core, away from what is measured."""
    cores = sorted(os.sched_getaffinity(0))
    if len(cores) > LOAD_CORE:
        os.sched_setaffinity(server.process.pid, {cores[LOAD_CORE]})


def _known(server: InProcess, path: Path) -> list[str]:
    """Return the cards that the server knows, and write them to a file."""
    cards = [card_id for card_id, truth in server.truth() if truth is not None]
    path.write_text("".join(json.dumps({"cardId": card_id}) + "\n" for card_id in cards))
    return cards


async def _expect(url: str, issuer_id: str, cards: Sequence[str]) -> None:
    async with AsyncMirror.open(url) as mirror:
        await expect(mirror, issuer_id, (Expected(card_id) for card_id in cards))


def _settled(server: InProcess, ground: Ground, url: str, _number: int) -> Compared:
    """Compare what was compared just before."""
    _turn("sweep", server, ground, mirror=url)
    return _turn("sweep", server, ground, mirror=url)


def _moved(server: InProcess, ground: Ground, url: str, _number: int) -> Compared:
    """Compare after a share of the cards changed."""
    server.advance(round(CARDS * CHANGED), tell=False)
    return _turn("sweep", server, ground, mirror=url)


def _turn(way: str, server: InProcess, ground: Ground, *, mirror: str = "") -> Compared:
    options = [
        f"--origin={server.origin}", f"--issuer={server.issuer_id}", f"--kid={server.kid}", f"--key={server.key_file}",
        f"--cards={ground.folder / 'cards.jsonl'}", f"--mirror={mirror}",
    ]  # fmt: skip
    command = pinned([sys.executable, "-m", "bench.reconciler", way, *options], SERVER_CORE)
    rate, cpu, changed, peak = output_of(command, {}, SECONDS).split()[-4:]
    return Compared(float(rate), float(cpu), int(changed), float(peak))


def _show(rows: Sequence[Row[Compared]], measure: Measure) -> None:
    bare = [run.rate for run in rows[0].runs]
    show(
        measure.say,
        f"Reconciling {CARDS:,} cards, a call each, 64 at once, one core for the issuer and one for the server",
        ("cards/s", "of the bare client", "lowest–highest", "CPU µs", "changed", "peak MiB"),
        rows,
        lambda row: [
            f"{median(run.rate for run in row.runs):,.0f}",
            share([run.rate for run in row.runs], bare),
            spread([run.rate for run in row.runs]),
            f"{median(run.cpu for run in row.runs):.0f}",
            f"{median(run.changed for run in row.runs):,.0f}",
            f"{max(run.peak for run in row.runs):.0f}",
        ],
    )


# ── memory ──


def _memory(ground: Ground, measure: Measure) -> None:
    """Measure the peak of a pass over mirrors of very different sizes, on SQLite, which is inside the process."""
    rows: list[Row[Compared]] = []
    with strict_in_process(ground.folder / "strict.pem", "--cards", str(COMPARED), "--seed", "7") as server:
        _alone(server)
        server.advance(COMPARED * 3, tell=False)
        known = _known(server, ground.folder / "cards.jsonl")
        for cards in MANY:
            url = f"sqlite:///{ground.folder}/memory-{cards}.db"
            measure.say.print(f"[dim]filling a mirror of {cards:,} cards[/dim]")
            asyncio.run(_fill(url, server.issuer_id, known, cards))
            rows.append(Row(f"{cards:,} cards in the mirror", [_turn("sweep", server, ground, mirror=url)]))
    show(
        measure.say,
        f"Memory of a pass that compares {COMPARED:,} of them",
        ("cards/s", "CPU µs", "changed", "peak MiB"),
        rows,
        lambda row: [
            f"{row.runs[0].rate:,.0f}", f"{row.runs[0].cpu:.0f}", f"{row.runs[0].changed:,}", f"{row.runs[0].peak:.0f}",
        ],
    )  # fmt: skip


async def _fill(url: str, issuer_id: str, known: Sequence[str], cards: int) -> None:
    """Expect the server's cards, and others, which are put aside as settled so that nobody asks for them."""
    async with AsyncMirror.open(url) as mirror:
        await expect(mirror, issuer_id, (Expected(f"other-{number:07d}") for number in range(cards - len(known))))
        await mirror.db.transact(lambda tx: tx.script("UPDATE card SET state = 'settled';\n"))
        await expect(mirror, issuer_id, (Expected(card_id) for card_id in known))
