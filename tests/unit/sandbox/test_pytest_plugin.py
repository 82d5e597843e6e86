"""The fixtures, as an issuer's own tests use them: docs/pytest.md itself is run, in a pytest of its own."""

import importlib.metadata
import re
import subprocess
import sys
from pathlib import Path

PAGE = Path(__file__).parents[3] / "docs" / "pytest.md"
PLUGIN = "cardtrail.sandbox.pytest_plugin"
PATIENCE = 100
RECEIVER = '''
import asyncio
import threading
import time

import pytest
import uvicorn

from cardtrail import AsyncMirror, AsyncReceiver, Mirror, Observed, Trust, asgi_app

ISSUER = "DEMO-BANK1"


class Receiver:
    """An issuer's receiver: the kit's, on a server in a thread."""

    def __init__(self, path):
        self.store = f"sqlite:///{path / 'mirror.db'}"
        self.secret = None
        config = uvicorn.Config(
            self.app, interface="asgi3", port=0, lifespan="off", log_config=None, ws="none", timeout_graceful_shutdown=1
        )
        self.server = uvicorn.Server(config)
        self.sockets = [config.bind_socket()]
        self.url = f"http://127.0.0.1:{self.sockets[0].getsockname()[1]}"
        self.thread = threading.Thread(target=lambda: asyncio.run(self.run()))

    async def run(self):
        async with AsyncMirror.open(self.store) as self.mirror:
            await self.server.serve(self.sockets)

    async def app(self, scope, receive, send):
        receiver = AsyncReceiver(self.mirror, {ISSUER: Trust(secrets=[self.secret])})
        await asgi_app(receiver)(scope, receive, send)

    def verify_with(self, secret):
        self.secret = secret

    def stage(self, card_id):
        with Mirror.open(self.store) as mirror:
            return mirror.card(ISSUER, card_id)[0].operation.stage

    def ask(self, client, card_id):
        with Mirror.open(self.store) as mirror:
            ticket = mirror.ticket(ISSUER)
            operation = client.production_status(card_id)
            mirror.apply(ISSUER, [Observed(operation, "answer", time.time_ns() // 1000, ticket)])


@pytest.fixture
def receiver(tmp_path):
    one = Receiver(tmp_path)
    one.thread.start()
    yield one
    one.server.should_exit = True
    one.thread.join(20)
    [socket.close() for socket in one.sockets]
'''
MORE = """
from datetime import timedelta

import pytest

from cardtrail.errors import Conflict, InputError


def test_time_stands_still_until_it_is_moved(cardtrail_platform, cardtrail_clock):
    before = cardtrail_clock.now
    assert (before.weekday(), before.hour, cardtrail_clock.now) == (0, 6, before)
    cardtrail_platform.order("sbx-data-exception-1")
    assert cardtrail_platform.status("sbx-data-exception-1").stage == "CARD_PROD_REQUESTED"
    assert cardtrail_clock.advance(timedelta(days=5)) == 1
    assert cardtrail_clock.now - before == timedelta(days=5)
    cardtrail_clock.speed("1000x")
    while cardtrail_clock.now - before < timedelta(days=5, minutes=1):
        pass
    cardtrail_clock.pause()
    assert cardtrail_clock.now == cardtrail_clock.now
    with pytest.raises(InputError, match="span"):
        cardtrail_clock.advance("yesterday")


def test_faults_strike_the_kits_own_client(cardtrail_platform, cardtrail_faults):
    cardtrail_platform.order("card-1")
    with cardtrail_faults("500", at="answers", rate=0.5):
        assert cardtrail_platform.status("card-1").card_id == "card-1"
    cardtrail_faults.set("500", at="answers")
    cardtrail_faults.clear()
    assert cardtrail_platform.status("card-1").card_id == "card-1"
    assert set(cardtrail_faults.struck) <= {"500@answers"}
    with pytest.raises(InputError, match="hop"):
        cardtrail_faults.set("delay", at="answers")


def test_things_happen_to_cards_and_too_late_is_too_late(cardtrail_platform):
    cardtrail_platform.order("card-1", "sbx-happy-1")
    cardtrail_platform.ship("card-1")
    cardtrail_platform.scan("card-1", status="Levitating")
    cardtrail_platform.fail("card-1")
    cardtrail_platform.deliver("card-1")
    assert cardtrail_platform.status("card-1").shipment_status == "Delivered"
    with pytest.raises(Conflict, match="too late"):
        cardtrail_platform.return_("card-1")
    assert {each.hop for each in cardtrail_platform.sent} == {"answers", "events"}


@pytest.mark.cardtrail(seed=5, scenarios="mine.toml")
def test_a_scenario_of_ones_own_is_played(cardtrail_platform, cardtrail_clock):
    cardtrail_platform.order("sbx-mine-1")
    cardtrail_clock.advance("30d")
    assert cardtrail_platform.status("sbx-mine-1").stage == "CARD_PROD_CANCELED"


def test_nobody_who_listens_leaves_it_unsettled(cardtrail_platform):
    cardtrail_platform.notify("http://127.0.0.1:9")
    cardtrail_platform.order("card-1")
    with pytest.raises(TimeoutError, match="1 notifications are not delivered"):
        cardtrail_platform.settle(0.2)
"""
MINE = """
[scenarios.mine]
about = "Canceled at once."
steps = ["canceled"]
"""


def run(path: Path, *arguments: str) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-m", "pytest", "-p", PLUGIN, "-W", "error", "-p", "no:cacheprovider", "-q", *arguments]
    return subprocess.run(command, cwd=path, capture_output=True, text=True, check=False, timeout=PATIENCE)


def test_the_page_about_them_runs_and_so_does_all_that_it_promises(tmp_path: Path) -> None:
    (tmp_path / "conftest.py").write_text(RECEIVER)
    (tmp_path / "mine.toml").write_text(MINE)
    (tmp_path / "test_page.py").write_text("\n\n".join(re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.DOTALL)))
    (tmp_path / "test_more.py").write_text(MORE)
    done = run(tmp_path)
    assert re.search(r"^8 passed in", done.stdout, re.MULTILINE), done.stdout + done.stderr


def test_a_run_that_uses_none_of_them_imports_nothing_heavy(tmp_path: Path) -> None:
    (tmp_path / "test_light.py").write_text(
        "import sys\ndef test_it():\n"
        "    assert not {'cardtrail.platform.app', 'cardtrail.sandbox.hired'} & {*sys.modules}\n"
    )
    done = run(tmp_path)
    assert "1 passed" in done.stdout, done.stdout + done.stderr
    assert "cardtrail_platform" in run(tmp_path, "--fixtures").stdout


def test_whoever_installs_the_package_has_them() -> None:
    found = importlib.metadata.entry_points(group="pytest11", name=PLUGIN)
    assert [each.value for each in found] == [PLUGIN]
