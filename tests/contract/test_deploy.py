"""What is given for deployment fits the program: settings, commands, ports, paths, and the time to stop."""

import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from cardtrail.issuer import settings as kit
from cardtrail.platform import http
from cardtrail.platform.settings import Settings, described
from tests.contract.test_docs import COMMANDS

DEPLOY = Path(__file__).parents[2] / "deploy"
FILES = sorted(path for path in DEPLOY.rglob("*") if path.is_file())
UNITS = sorted((DEPLOY / "systemd").glob("*.service"))
MANIFESTS = sorted((DEPLOY / "kubernetes").glob("*.yaml"))
VARIABLES = {each.variable: each for each in (*described(), *kit.described())}


def manifests() -> Iterator[dict[str, Any]]:
    for path in MANIFESTS:
        yield from yaml.safe_load_all(path.read_text())


def deployments() -> dict[str, dict[str, Any]]:
    return {each["metadata"]["name"]: each["spec"] for each in manifests() if each["kind"] == "Deployment"}


def container(name: str) -> dict[str, Any]:
    [found] = deployments()[name]["template"]["spec"]["containers"]
    return dict(found)


def config() -> dict[str, str]:
    [found] = [each["data"] for each in manifests() if each["kind"] == "ConfigMap"]
    return dict(found)


def told() -> Iterator[tuple[Path, list[str]]]:
    """Every command line, as words after `cardtrail`."""
    for unit in UNITS:
        [line] = re.findall(r"^ExecStart=/opt/cardtrail/bin/cardtrail (.*)$", unit.read_text(), re.MULTILINE)
        yield unit, shlex.split(line)
    for name in deployments():
        yield MANIFESTS[0], container(name)["args"]
    for words in re.findall(r"^CMD \[\"(\w+)\"\]$", image(), re.MULTILINE):
        yield DEPLOY / "container", [words]


def image() -> str:
    return (DEPLOY / "container/Containerfile").read_text()


def test_there_is_a_unit_a_manifest_and_an_image_for_each_process() -> None:
    assert {unit.stem for unit in UNITS} == {"cardtrail", "cardtrail-deliver", "cardtrail-issuer"}
    assert set(deployments()) == {"cardtrail", "cardtrail-deliver"}
    assert {tuple(words) for _, words in told()} == {("serve",), ("deliver",), ("issuer", "serve")}


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_every_variable_is_a_setting(path: Path) -> None:
    named = set(re.findall(r"CARDTRAIL_[A-Z_]+", path.read_text()))
    assert named - set(VARIABLES) == set()


def test_every_command_exists_and_has_the_options_that_are_given() -> None:
    for path, words in told():
        name = " ".join(["cardtrail", *[word for word in words if not word.startswith("-")]])
        assert name in COMMANDS, path
        assert [word for word in words if word.startswith("-")] == [], "settings come from the environment"


def test_ports_and_paths_agree() -> None:
    service = container("cardtrail")
    [port] = [each["containerPort"] for each in service["ports"]]
    assert str(port) == config()["CARDTRAIL_PORT"]
    assert f"EXPOSE {port}" in image()
    assert f"CARDTRAIL_PORT={port}" in image()
    assert f"127.0.0.1:{port}/healthz" in image()
    paths = {route[1] for route in http.ROUTES}
    for name in deployments():
        probes = [container(name)[each]["httpGet"] for each in ("startupProbe", "livenessProbe", "readinessProbe")]
        assert [each["path"] for each in probes] == ["/healthz", "/healthz", "/readyz"]
        assert {each["path"] for each in probes} <= paths
        assert {each["port"] for each in probes} == {each["name"] for each in container(name)["ports"]}
        mounts = {each["mountPath"] for each in container(name)["volumeMounts"]}
        assert str(Path(config()["CARDTRAIL_SECRET_KEY_FILE"]).parent) in mounts
        assert "/var/lib/cardtrail" in mounts
    [secret] = [each for each in manifests() if each["metadata"]["name"] == "cardtrail-secret-key"]
    assert Path(config()["CARDTRAIL_SECRET_KEY_FILE"]).name in secret["stringData"]


def test_a_deliverer_is_watched_where_it_listens() -> None:
    [port] = [each["containerPort"] for each in container("cardtrail-deliver")["ports"]]
    assert str(port) == config()["CARDTRAIL_WATCH_PORT"]
    assert config()["CARDTRAIL_WATCH_HOST"] == "0.0.0.0"  # noqa: S104 -- in a pod
    assert {"CARDTRAIL_WATCH_HOST=0.0.0.0", "CARDTRAIL_WATCH_PORT=8080"} <= set(image().replace("\\", "").split())
    [unit] = [unit.read_text() for unit in UNITS if unit.stem == "cardtrail-deliver"]
    [beside] = re.findall(r"^Environment=CARDTRAIL_WATCH_PORT=(\d+)$", unit, re.MULTILINE)
    assert int(beside) not in {0, Settings().port}


def test_prometheus_is_told_where_each_pod_shows_its_metrics() -> None:
    for name, each in deployments().items():
        [port] = [each["containerPort"] for each in container(name)["ports"]]
        told = each["template"]["metadata"]["annotations"]
        assert told == {
            "prometheus.io/scrape": "true", "prometheus.io/port": str(port), "prometheus.io/path": "/metrics",
        }  # fmt: skip


def test_two_services_that_do_not_deliver_and_one_that_does() -> None:
    assert (deployments()["cardtrail"]["replicas"], deployments()["cardtrail-deliver"]["replicas"]) == (2, 1)
    assert container("cardtrail")["env"] == [{"name": "CARDTRAIL_DELIVER", "value": "false"}]
    [budget] = [each["spec"] for each in manifests() if each["kind"] == "PodDisruptionBudget"]
    assert budget["selector"] == deployments()["cardtrail"]["selector"]


def test_a_stopping_process_has_the_time_that_it_takes() -> None:
    settings = Settings()
    grace = {name: each["template"]["spec"]["terminationGracePeriodSeconds"] for name, each in deployments().items()}
    assert grace["cardtrail"] > settings.drain_seconds + 5
    assert grace["cardtrail-deliver"] > settings.delivery_timeout
    for unit in UNITS:
        [seconds] = re.findall(r"^TimeoutStopSec=(\d+)$", unit.read_text(), re.MULTILINE)
        assert int(seconds) > settings.drain_seconds


def test_nothing_runs_as_root_or_can_write_its_root() -> None:
    user = re.search(r"^USER (\d+)$", image(), re.MULTILINE)
    assert user is not None
    for name, each in deployments().items():
        pod = each["template"]["spec"]["securityContext"]
        assert (pod["runAsNonRoot"], str(pod["runAsUser"])) == (True, user[1])
        bounds = container(name)["securityContext"]
        assert (bounds["readOnlyRootFilesystem"], bounds["allowPrivilegeEscalation"]) == (True, False)
        assert bounds["capabilities"] == {"drop": ["ALL"]}
    for unit in UNITS:
        assert {"User=cardtrail", "ProtectSystem=strict", "NoNewPrivileges=yes", "CapabilityBoundingSet="} <= set(
            unit.read_text().splitlines()
        )


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="there is no systemd")
def test_systemd_takes_every_unit(tmp_path: Path) -> None:
    here = Path(sys.executable).parent / "cardtrail"
    for unit in UNITS:
        text = unit.read_text().replace("/opt/cardtrail/bin/cardtrail", str(here))
        (tmp_path / unit.name).write_text(text)
    units = [str(tmp_path / unit.name) for unit in UNITS]
    ran = subprocess.run(["systemd-analyze", "verify", *units], capture_output=True, text=True, check=False, timeout=60)
    ours = [line for line in ran.stderr.splitlines() if "cardtrail" in line]
    assert (ran.returncode, ours) == (0, []), ran.stderr


def test_the_page_for_operators_names_only_settings_commands_and_spans_that_there_are() -> None:
    page = (DEPLOY.parent / "docs/operate.md").read_text()
    assert set(re.findall(r"CARDTRAIL_[A-Z_]+", page)) - set(VARIABLES) == set()
    for words in re.findall(r"(?:`|^)cardtrail ((?:[a-z]+ ?)+)", page, re.MULTILINE):
        assert any(f"cardtrail {words} ".startswith(f"{name} ") for name in COMMANDS), words
    for days, variable in re.findall(r"\| (\d+) days \| `(\w+)` \|", page):
        assert VARIABLES[variable].default == int(days)
