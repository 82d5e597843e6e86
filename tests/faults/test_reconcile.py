"""Law 4 with real processes: notifications are lost, doubled and shuffled, receiver and reconciler are killed, and one
pass of `cardtrail reconcile` makes the mirror what the server says.

The server is a strict one: it has the published contract and nothing else. `CARDTRAIL_TEST_CARDS=100000` lets the
whole number of cards through; `-s` shows what was counted.
"""

import json
import os
import random
import signal
import socket
import subprocess
import sys
import time
from base64 import b64encode
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from cardtrail.issuer.mirror import Mirror
from cardtrail.issuer.standing import FOLDED
from cardtrail.protocol.reading import operation_of
from tests.desk import execute
from tests.strict.running import InProcess, strict_in_process

HOUSE = Path(__file__).parents[2]
CARDS = int(os.environ.get("CARDTRAIL_TEST_CARDS", "2000"))
KILLS = 20
STEPS = 6
"""Things that happen to a card, on average."""
PATIENCE = 240.0
"""Longest wait for a process, seconds."""
SECRET = "whsec_" + b64encode(bytes(32)).decode()


class Issuer:
    """The issuer's side: two programs on one mirror, each of which may be killed at any moment."""

    def __init__(self, server: InProcess, mirror: str, folder: Path, port: int) -> None:
        (folder / "secrets").write_text(SECRET)
        self._environment = os.environ | {
            "CARDTRAIL_KIT_MIRROR": mirror, "CARDTRAIL_KIT_ISSUER_ID": server.issuer_id,
            "CARDTRAIL_KIT_SERVER": f"{server.origin}/banking/v1", "CARDTRAIL_KIT_KEY_FILE": server.key_file,
            "CARDTRAIL_KIT_KID": server.kid, "CARDTRAIL_KIT_SECRETS_FILE": str(folder / "secrets"),
            "CARDTRAIL_KIT_PORT": str(port), "CARDTRAIL_KIT_CALLS_PER_SECOND": "100000",
            "CARDTRAIL_KIT_CALLS_PER_DAY": "1000000000", "PYTHONPATH": f"{HOUSE / 'src'}:{HOUSE}",
        }  # fmt: skip
        self._port = port
        self.receiver: subprocess.Popen[str] | None = None

    def start(self, *words: str, **environment: str) -> "subprocess.Popen[str]":
        command = (sys.executable, "-m", "cardtrail", *words)
        return subprocess.Popen(
            command, env=self._environment | environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )

    def run(self, *words: str) -> str:
        """Run a command to its end, which must be a good one."""
        process = self.start(*words)
        out, err = process.communicate(timeout=PATIENCE)
        assert process.returncode == 0, f"{words}: {process.returncode}: {out}{err}"
        return out

    def receive(self) -> None:
        """Start the receiver, which asks nothing by itself, and wait until it listens."""
        self.receiver = self.start("issuer", "serve", CARDTRAIL_KIT_SERVER="")
        deadline = time.monotonic() + PATIENCE
        while True:
            try:
                socket.create_connection(("127.0.0.1", self._port), timeout=1).close()
            except OSError:
                assert time.monotonic() < deadline, "the receiver does not listen"
                assert self.receiver.poll() is None, self.receiver.communicate()
            else:
                return

    def kill_receiver(self) -> None:
        assert self.receiver is not None
        kill(self.receiver)


def kill(process: "subprocess.Popen[str]") -> None:
    process.send_signal(signal.SIGKILL)
    process.communicate(timeout=PATIENCE)


@contextmanager
def issuer_of(server: InProcess, mirror: str, folder: Path, port: int) -> Iterator[Issuer]:
    issuer = Issuer(server, mirror, folder, port)
    issuer.receive()
    try:
        yield issuer
    finally:
        issuer.kill_receiver()


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def wrong_cards(server: InProcess, mirror_url: str) -> list[str]:
    """Return the cards of which the mirror's newest order is not what the server says."""
    wrong = []
    with Mirror.open(mirror_url) as mirror:
        for card_id, truth in server.truth():
            held = [each for each in mirror.card(server.issuer_id, card_id) if each.known.operation in FOLDED]
            if truth is None:
                wrong += [card_id] if held else []
                continue
            said = operation_of(json.dumps(truth).encode())
            if not held or held[0].operation.content != said.content or held[0].known.doubtful:
                wrong.append(card_id)
    return wrong


def asked(mirror: str) -> int:
    """Return how many cards all passes have asked for until now."""
    [(count,)] = execute(mirror, "SELECT COALESCE(sum(asked), 0) FROM pass")
    return int(count)


def kill_in_the_middle(issuer: Issuer, mirror: str) -> int:
    """Start a reconciler and kill it once it has asked for something; return 1, or 0 if it was quicker."""
    before = asked(mirror)
    process = issuer.start("reconcile")
    deadline = time.monotonic() + PATIENCE
    while asked(mirror) == before and process.poll() is None:
        assert time.monotonic() < deadline, "the reconciler asks for nothing"
    ended = process.poll() is not None
    kill(process)
    return 0 if ended else 1


def stormed(server: InProcess, issuer: Issuer, mirror: str) -> dict[str, int]:
    """Let everything happen, and kill one side after the other meanwhile; return how often each was killed."""
    chance, kills = random.Random(7), {"receiver": 0, "reconciler": 0}
    for turn in range(KILLS):
        server.advance(CARDS * STEPS // KILLS // 2)
        if turn % 2 == 0:
            issuer.kill_receiver()
            kills["receiver"] += 1
            if chance.random() < 0.5:
                server.advance(CARDS // KILLS)  # of these the receiver hears nothing
            issuer.receive()
        else:
            kills["reconciler"] += kill_in_the_middle(issuer, mirror)
        server.advance(CARDS * STEPS // KILLS // 2)
    server.flush()
    return kills


def order_book(server: InProcess, path: Path) -> None:
    """Write when the issuer ordered each card last: it ordered some again that had been settled by then."""
    orders = ((card_id, truth["startTime"]) for card_id, truth in server.truth() if truth is not None)
    path.write_text("".join(f'{{"cardId":"{card_id}","orderedAt":"{at}"}}\n' for card_id, at in orders))


def served(stack: ExitStack, folder: Path, port: int) -> InProcess:
    notified = ("--notify", f"http://127.0.0.1:{port}", "--secret", SECRET, "--per-call", "20", "--concurrency", "8")
    losses = ("--lost", "0.3", "--doubled", "0.1", "--window", "50", "--late", "0.02", "--delay", "500")
    amount = ("--cards", str(CARDS), "--seed", "7", "--never", "0.01")
    return stack.enter_context(strict_in_process(folder / "key.pem", *amount, *notified, *losses))


def told(name: str, members: dict[str, Any]) -> None:
    print(f"{name}: " + ", ".join(f"{each} {value}" for each, value in members.items()))  # noqa: T201 -- shown with -s


def test_after_one_pass_the_mirror_is_what_the_server_says_whatever_was_lost(database_url: str, tmp_path: Path) -> None:
    with ExitStack() as stack:
        port = free_port()
        server = served(stack, tmp_path, port)
        issuer = stack.enter_context(issuer_of(server, database_url, tmp_path, port))
        server.write_cards(tmp_path / "cards.jsonl")
        issuer.run("cards", "import", str(tmp_path / "cards.jsonl"))
        server.advance(CARDS * STEPS)
        server.flush()
        wrong = len(wrong_cards(server, database_url))
        report = json.loads(issuer.run("reconcile", "--json"))
        counts = server.counts()
        told("lost, doubled and shuffled", {
            "engine": database_url.split(":", maxsplit=1)[0], "cards": CARDS, "told": counts["stream"]["told"],
            "lost": counts["stream"]["lost"], "doubled": counts["stream"]["doubled"], "wrong before": wrong,
            "calls": report["calls"], "repaired": report["repaired"], "seconds": report["seconds"],
        })  # fmt: skip
        assert wrong > CARDS // 10
        assert wrong_cards(server, database_url) == []
        assert report["calls"] <= CARDS * 1.02 + 50
        assert report["failed"] == report["doubtful"] == 0


def test_kills_of_receiver_and_reconciler_change_nothing_in_the_end(database_url: str, tmp_path: Path) -> None:
    with ExitStack() as stack:
        port = free_port()
        server = served(stack, tmp_path, port)
        issuer = stack.enter_context(issuer_of(server, database_url, tmp_path, port))
        server.write_cards(tmp_path / "cards.jsonl")
        issuer.run("cards", "import", str(tmp_path / "cards.jsonl"))
        kills = stormed(server, issuer, database_url)
        order_book(server, tmp_path / "orders.jsonl")
        issuer.run("cards", "import", str(tmp_path / "orders.jsonl"))
        wrong = len(wrong_cards(server, database_url))
        first = json.loads(issuer.run("reconcile", "--json"))
        last = json.loads(issuer.run("reconcile", "--json"))
        counts = server.counts()
        told("killed", {
            "engine": database_url.split(":", maxsplit=1)[0], "cards": CARDS, "kills": kills,
            "lost": counts["stream"]["lost"],
            "given up": counts["delivery"].get("given up", 0), "calls": counts["calls"]["status"],
            "wrong before": wrong, "repaired": first["repaired"] + last["repaired"],
        })  # fmt: skip
        assert kills["receiver"] == KILLS // 2
        assert kills["reconciler"] >= KILLS // 4
        assert wrong_cards(server, database_url) == []
        assert last["doubtful"] == last["failed"] == 0
