"""What is done to the platform: its store is held on either engine while reads go on, and it is let go in time."""

import asyncio
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from cardtrail.db import Database, Transaction
from cardtrail.errors import CardtrailError
from cardtrail.platform.app import Platform
from cardtrail.platform.settings import Settings
from cardtrail.platform.store import open_store
from cardtrail.sandbox.wire.levers import Stalls, rotate_token_key


@contextmanager
def store(url: str) -> Iterator[Database]:
    with closing(open_store(url)) as db:
        yield db


def write(tx: Transaction) -> None:
    tx.each("lock_cards", [("ISSUER0001", "card-1")])


def read(tx: Transaction) -> object:
    return tx.one("find_meta", name="epoch")


def test_while_the_store_is_held_writes_wait_and_reads_go_on_until_it_is_let_go(database_url: str) -> None:
    async def play(db: Database) -> None:
        stalls = Stalls(database_url)
        await stalls.hold(60)
        writing = asyncio.create_task(db.transact(write))
        assert not (await asyncio.wait([writing], timeout=0.3))[0]
        assert await db.read(read) is not None
        began = time.monotonic()
        await stalls.close()
        await writing
        assert time.monotonic() - began < 20

    with store(database_url) as db:
        asyncio.run(play(db))


def test_it_is_let_go_by_itself_when_the_time_is_up(database_url: str) -> None:
    async def play(db: Database) -> None:
        stalls = Stalls(database_url)
        await stalls.hold(0.2)
        await db.transact(write)
        await stalls.close()

    with store(database_url) as db:
        asyncio.run(play(db))


def test_a_store_that_is_not_there_is_told(tmp_path: Path) -> None:
    async def play() -> None:
        with pytest.raises(CardtrailError):
            await Stalls(f"sqlite:///{tmp_path}/none/none.db").hold(1)

    asyncio.run(play())


def test_a_key_that_follows_is_seen_at_once_and_the_old_one_signs_on(tmp_path: Path) -> None:
    async def play() -> None:
        platform = Platform(Settings(database=f"sqlite:///{tmp_path}/cardtrail.db", deliver=False))
        try:
            await platform.signing.run_once()
            await platform.registry.run_once()
            [old] = platform.registry.snapshot.ring.keys
            kid = await rotate_token_key(platform)
            assert [key.kid for key in platform.registry.snapshot.ring.keys] == [old.kid, kid]
            assert platform.registry.snapshot.ring.signer(platform.registry.wall()).kid == old.kid
        finally:
            platform.db.close()

    asyncio.run(play())
