"""Looking at both sides at once: the platform by the issuer's client, the mirror in its file."""

import asyncio
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

from cardtrail.issuer.client import AsyncClient
from cardtrail.issuer.mirror import AsyncMirror, Change
from cardtrail.issuer.standing import Told
from cardtrail.platform.app import Platform
from cardtrail.platform.ledger import Ledger
from cardtrail.sandbox import stage
from cardtrail.sandbox.admit import ISSUER_ID, admit
from cardtrail.sandbox.bank import Bank, Books
from cardtrail.sandbox.call import BASE_PATH
from cardtrail.sandbox.compare import Row, Sight
from cardtrail.sandbox.folder import Folder
from cardtrail.sandbox.server import Server
from cardtrail.sandbox.subscribe import subscribe
from cardtrail.sandbox.watch import Watch
from cardtrail.sandbox.wire.faults import Faults

ORDER = {
    "distributionChannel": "CENTRAL", "services": {"issuance": "CREATION"}, "shipment": {}, "paymentApplication": {},
    "encryptedData": "e30.e30.e30.e30.e30",
}  # fmt: skip
PATIENCE = 20.0


class Seen:
    """A view that keeps what it is shown last, and all that was told as news."""

    def __init__(self) -> None:
        self.rows: Sequence[Row] = ()
        self.books: Books | None = None
        self.moved: list[Sight] = []
        self.learned: list[Change] = []

    def show(self, rows: Sequence[Row], moved: Sequence[Sight], learned: Sequence[Change], books: Books) -> None:
        self.rows, self.books = rows, books
        self.moved += moved
        self.learned += learned

    def say(self, text: str) -> None:
        raise AssertionError(text)


def test_a_lost_notification_is_seen_and_so_is_the_repair(tmp_path: Path) -> None:
    asyncio.run(_lost_and_repaired(tmp_path))


async def _lost_and_repaired(path: Path) -> None:
    folder, listening, seen = Folder(path), stage.listen(0), Seen()
    port = listening.getsockname()[1]
    platform = Platform(stage.settings_of(folder, port))
    party, _ = await admit(platform.db)
    with closing(Server()) as server:
        secret = await subscribe(platform.endpoints, server.url)
        async with AsyncMirror.open(folder.mirror) as mirror:
            bank = Bank(
                server, mirror, secret, Ledger(platform.db), endpoints=platform.endpoints, faults=Faults(1),
                say=lambda _: None,
            )  # fmt: skip
            kit = AsyncClient(f"http://127.0.0.1:{port}{BASE_PATH}", ISSUER_ID, key=party.key, kid=party.kid)
            watch = Watch(kit, bank, lambda: ["card-1", "card-2"], seen)
            async with bank.open(), stage.serving(platform, listening), kit, asyncio.timeout(PATIENCE):
                assert await watch.run_once() == 0
                bank.drop(1.0)
                ordered = await kit.order_card("card-1", ORDER)
                while seen.books is None or not seen.books.thrown:
                    await watch.run_once()
                assert [sight.operation_id for sight in seen.moved] == [ordered.operation_id]
                [row] = seen.rows
                assert (row.truth.stage, row.copy) == ("CARD_PROD_REQUESTED", None)
                assert row.differs_since is not None
                assert seen.learned == []
                keeping = asyncio.create_task(bank.keep(kit))
                while not seen.learned:
                    await watch.run_once()
                keeping.cancel()
                await asyncio.gather(keeping, return_exceptions=True)
                await watch.run_once()  # the mirror may have learned between the two looks of the last one
                [row] = seen.rows
                assert row.copy is not None
                assert (row.copy.sight, row.copy.told, row.differs_since) == (row.truth, Told.ANSWERED, None)
                assert [change.source for change in seen.learned] == ["answer"]
                assert seen.books.repaired == 1
                assert seen.books.pulled is not None
                assert await watch.run_once() == 0
