"""A process that follows the feeds of two issuers until it ends or is killed: `python -m tests.prove.reader FILE`.

What it has read and where to read on are one file, replaced as a whole, so that a kill loses neither without the other.
"""

import asyncio
import json
import os
import sys
from pathlib import Path
from typing import Any

from cardtrail.errors import CardtrailError, RemoteCursorExpired
from cardtrail.issuer.client import AsyncClient

PAGE = 25
"""Operations in a page: few, so that there are many places to be killed at."""
PAUSE = 0.1


async def follow(told: dict[str, Any], issuer_id: str) -> None:
    """Read for ever."""
    path = Path(told["folder"]) / f"read-{issuer_id}.json"
    state = json.loads(path.read_text()) if path.exists() else {"cursor": None, "pictures": {}, "expired": 0}
    client = AsyncClient(
        told["server"], issuer_id, key=told["keys"][issuer_id], kid="k1", timeout=5.0, deadline=10.0, retries=1
    )
    with (Path(told["folder"]) / f"seen-{issuer_id}.log").open("a") as seen:
        async with client:
            while True:
                try:
                    page = await client.changes(state["cursor"], limit=PAGE, wait=1)
                except RemoteCursorExpired:
                    state = {"cursor": None, "pictures": state["pictures"], "expired": state["expired"] + 1}
                except CardtrailError:
                    await asyncio.sleep(PAUSE)
                else:
                    for element in page.elements:
                        text = bytes(element).decode()
                        seen.write(text + "\n")
                        state["pictures"][json.loads(text)["operationId"]] = text
                    seen.flush()
                    state["cursor"] = page.cursor
                    _replace(path, json.dumps(state))


def _replace(path: Path, text: str) -> None:
    fresh = path.with_suffix(".new")
    fresh.write_text(text)
    os.replace(fresh, path)  # noqa: PTH105 -- atomic, as the name says


async def main(told: dict[str, Any]) -> None:
    """Follow both."""
    await asyncio.gather(*(follow(told, issuer_id) for issuer_id in told["keys"]))


if __name__ == "__main__":
    asyncio.run(main(json.loads(Path(sys.argv[1]).read_text())))
