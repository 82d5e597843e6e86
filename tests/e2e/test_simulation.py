"""`cardtrail sandbox` as a command: simulations that end, and a sandbox that is moved by other commands."""

import re
import subprocess
from pathlib import Path

from tests.e2e.test_sandbox import cardtrail, playing


def simulate(path: Path, *options: str) -> "subprocess.CompletedProcess[str]":
    return cardtrail("sandbox", "--data", str(path), *options)


def test_the_same_simulation_prints_the_same_digest_and_how_long_it_took(tmp_path: Path) -> None:
    options = ("--speed", "max", "--cards", "200", "--seed", "7", "--days", "42")
    first, again = simulate(tmp_path, *options), simulate(tmp_path, *options)
    assert first.returncode == again.returncode == 0, first.stderr
    digests = [re.findall(r"^digest  ([0-9a-f]{64})$", each.stdout, re.MULTILINE) for each in (first, again)]
    assert digests[0] == digests[1] != []
    assert re.search(
        r"^42 days, \d+ orders, [\d,]+ events .* in \d+\.\d s: [\d,]+ events a second\.$", first.stdout, re.MULTILINE
    )
    assert "happy" in first.stdout
    assert "CARD_SHIPPED, Delivered" in first.stdout


def test_what_a_simulation_cannot_be_is_said(tmp_path: Path) -> None:
    for options, text in (
        (("--speed", "10x", "--days", "3"), "speed: only max"), (("--days", "0"), "days: 1 to"),
        (("--days", "3", "--cards", "0"), "cards: 1 to"), (("--speed", "warp"), "speed: a speed such as"),
        (("--cards", "1001"), "cards: 0 to 1,000"), (("--scenarios", "none.toml"), "scenarios: No such file"),
        (("--receiver", "nowhere"), "receiver: expected http:// or https:// and a host"),
        (("--days", "3", "--receiver", "http://127.0.0.1:9"), "receiver: not with --days"),
        (("--days", "3", "--port", "0"), "port: not with --days"),
    ):  # fmt: skip
        done = simulate(tmp_path, *(() if "--days" in options else ("--port", "0")), *options)
        assert (done.returncode, text in done.stderr) == (2, True), done.stderr


def test_a_running_sandbox_is_moved_by_commands(tmp_path: Path) -> None:
    def call(*words: str) -> str:
        done = cardtrail("sandbox", *words, "--data", str(tmp_path))
        return done.stdout if done.returncode == 0 else done.stderr

    with playing(tmp_path):
        assert call("pause").endswith("paused\n")
        assert call("time") == call("time")
        assert call("order", "sbx-happy-9") == "sbx-happy-9 is ordered: happy.\n"
        for verb, kind in (("hold", "held"), ("release", "released"), ("fail", "failed"), ("ship", "shipped")):
            assert kind in call(verb, "sbx-happy-9")
        assert call("cancel", "sbx-happy-9") == "cardtrail: cardId: too late, the card is shipped\n"
        assert "Levitating" in call("scan", "sbx-happy-9", "--status", "Levitating", "--code", "Z9")
        assert "scanned" in call("scan", "sbx-happy-9")
        assert "Delivered" in call("deliver", "sbx-happy-9")
        assert "returned" in call("scan", "sbx-happy-9", "--code", "returned")
        assert call("return", "sbx-happy-9") == "cardtrail: cardId: too late, the order is delivered\n"
        assert "things happened" in call("advance", "1d12h")
        assert call("speed", "500x").endswith("500x\n")
        assert call("resume").endswith("500x\n")
        assert call("ship", "nothing").startswith("cardtrail: cardId: the sandbox has no order of 'nothing'")
        assert call("advance", "soon").startswith("cardtrail: span: a span such as")
    assert "sbx-late-scan" not in cardtrail("sandbox", "scenarios").stdout
    assert "late-scan" in cardtrail("sandbox", "scenarios").stdout
    assert cardtrail("sandbox", "scenarios", "--json").stdout.startswith("{")
