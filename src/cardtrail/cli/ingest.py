"""`cardtrail ingest`: events from JSON Lines or CSV files into a store, as a local operator."""

import asyncio
import csv
import io
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, BinaryIO

import msgspec
from cyclopts import Parameter
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from cardtrail.db import Database
from cardtrail.errors import SettingError
from cardtrail.platform.auth import wall_clock
from cardtrail.platform.ingest import ALL, Ingest, Result, Sender
from cardtrail.platform.outbox import Outbox
from cardtrail.platform.settings import settings_of
from cardtrail.platform.store import open_store

BATCH = 1_000
"""Lines of one transaction."""
MAX_LINE = 65_536
"""Longest line, bytes; a longer one is rejected."""
IN_FLIGHT = 3
"""Batches under way at once, so that one is read while another is committed."""
OPERATOR = Sender("operator:local", frozenset({ALL}), frozenset({ALL}), frozenset({ALL}))

Batch = list[tuple[int, bytes]]


def ingest(
    *files: Annotated[str, Parameter(help="JSON Lines or CSV files; - reads JSON Lines from standard input.")],
    database: Annotated[str | None, Parameter(help="Store to write to, by default CARDTRAIL_DATABASE.")] = None,
    rejected: Annotated[Path, Parameter(help="Where rejected lines go, with reasons.")] = Path("rejected.jsonl"),
) -> None:
    """Take events from files, one JSON object a line, or CSV with a header line.

    Safe to repeat after an interruption: what is known already counts as duplicate. Ends with exit code 1 if any line
    was rejected.
    """
    if not files:
        raise SettingError("ingest: name at least one file, or - for standard input")
    settings = settings_of({"database": database})
    counts = asyncio.run(_ingest(settings.database, list(files), rejected))
    summary = ", ".join(f"{counts[result]:,} {result}" for result in ("accepted", "duplicate", "rejected"))
    print(summary)  # noqa: T201 -- the command's answer
    if counts["rejected"]:
        print(f"rejected lines and reasons: {rejected}", file=sys.stderr)  # noqa: T201 -- for a person
        sys.exit(1)


async def _ingest(url: str, files: list[str], rejected: Path) -> Counter[str]:
    db = open_store(url)
    try:
        with Progress(
            TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn(),
            console=Console(stderr=True), disable=not sys.stderr.isatty(),
        ) as progress:  # fmt: skip
            return await _Run(db, rejected, progress).all(files)
    finally:
        db.close()


class _Run:
    """One run over some files."""

    def __init__(self, db: Database, rejected: Path, progress: Progress) -> None:
        self._ingest = Ingest(db, wall_clock, lambda _sender, _issuer: True, Outbox(wall_clock))
        self._rejected = rejected
        self._progress = progress
        self._bad: BinaryIO | None = None
        self.counts: Counter[str] = Counter()

    async def all(self, files: list[str]) -> Counter[str]:
        gate = asyncio.Semaphore(IN_FLIGHT)
        try:
            async with asyncio.TaskGroup() as group:
                for name in files:
                    for batch in self._batches(name):
                        await gate.acquire()
                        group.create_task(self._take(name, batch)).add_done_callback(lambda _: gate.release())
            while await self._ingest.run_once():  # parcels with more cards than one transaction takes
                pass
        finally:
            if self._bad is not None:
                self._bad.close()
        return self.counts

    def _batches(self, name: str) -> Iterator[Batch]:
        """Yield numbered events, up to `BATCH` at a time, with a progress bar where the size is known."""
        size = Path(name).stat().st_size if name != "-" else None
        bar = self._progress.add_task(name, total=size)
        batch: Batch = []
        with sys.stdin.buffer if name == "-" else Path(name).open("rb") as stream:
            for number, line in _events(name, stream):
                batch.append((number, line))
                if len(batch) == BATCH:
                    self._progress.update(bar, completed=stream.tell() if size else number)
                    yield batch
                    batch = []
        if batch:
            yield batch
        if size is not None:
            self._progress.update(bar, completed=size)

    async def _take(self, name: str, batch: Batch) -> None:
        results = await self._ingest.take(OPERATOR, [line for _, line in batch])
        for (number, line), result in zip(batch, results, strict=True):
            self.counts[result.result] += 1
            if result.result == "rejected":
                self._keep(name, number, line, result)

    def _keep(self, name: str, number: int, line: bytes, result: Result) -> None:
        """Write a rejected line where a person finds it, with the reason."""
        if self._bad is None:
            self._bad = self._rejected.open("wb")
        row = {
            "file": name, "line": number, "errorCode": result.error_code, "error": result.error,
            "event": line.decode("utf-8", "replace"),
        }  # fmt: skip
        self._bad.write(msgspec.json.encode(row) + b"\n")


def _events(name: str, stream: BinaryIO) -> Iterator[tuple[int, bytes]]:
    if name.lower().endswith(".csv"):
        yield from _csv_events(stream)
        return
    for number, line in enumerate(_lines(stream), 1):
        if line.strip():
            yield number, line


def _lines(stream: BinaryIO) -> Iterator[bytes]:
    """Yield lines; of an endless one only so much as shows that it is too long."""
    while line := stream.readline(MAX_LINE + 1):
        if len(line) > MAX_LINE and not line.endswith(b"\n"):
            while (rest := stream.readline(MAX_LINE)) and not rest.endswith(b"\n"):
                pass
        yield line


def _csv_events(stream: BinaryIO) -> Iterator[tuple[int, bytes]]:
    """Yield a JSON event a row: the header names the members, an empty cell is an absent member."""
    rows = csv.DictReader(io.TextIOWrapper(stream, "utf-8-sig", newline=""))
    for row in rows:
        members = {name: _cell(name, text) for name, text in row.items() if name and isinstance(text, str) and text}
        yield rows.line_num, msgspec.json.encode(members)


def _cell(name: str, text: str) -> str | bool:
    """Return a cell's value; only `final` is no text."""
    return text.lower() == "true" if name == "final" and text.lower() in {"true", "false"} else text
