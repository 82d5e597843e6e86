"""What an installation brings with it: enough for what is promised, and no more."""

import re
from pathlib import Path

import pytest
from packaging.requirements import Requirement

import cardtrail
from tests.events import event
from tests.serving import ISSUER, Service, key_of
from tests.wheel import closure_of, installed, needs_of, run_in, unpacked_wheel

BARE = ["cryptography", "joserfc", "msgspec", "pyreqwest"]
FLOORS = ("core", "protocol", "issuer")
"""What imports in a bare install, module by module."""
HOUSE = Path(__file__).parents[2]
HEAVY = (
    "cyclopts", "rich", "structlog", "prometheus_client", "uvicorn", "starlette", "psycopg", "yaml", "opentelemetry",
)  # fmt: skip
"""Packages of the extras, which nobody has to pay for who did not ask for them."""


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return unpacked_wheel(tmp_path_factory.mktemp("wheel"))


@pytest.fixture(scope="module")
def bare(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The packages of a bare install."""
    return installed(closure_of(needs_of(wheel)), tmp_path_factory.mktemp("bare"))


def test_a_bare_install_is_four_packages_and_what_these_need(wheel: Path) -> None:
    assert sorted(need.name for need in needs_of(wheel)) == BARE
    brought = sorted(package.name for package in closure_of(needs_of(wheel)))
    told = " ".join((HOUSE / "README.md").read_text().split())
    assert f"it brings {len(brought)} packages ({', '.join(brought)})" in told


def test_each_extra_brings_those_below_it(wheel: Path) -> None:
    names = {extra: {need.name for need in needs_of(wheel, extra)} for extra in ("", "issuer", "platform", "sandbox")}
    assert names[""] < names["issuer"] < names["platform"]
    assert names["platform"] == names["sandbox"]


def test_a_bare_install_imports_the_whole_issuers_side(wheel: Path, bare: Path) -> None:
    """All but its pages, which come with the extra for its command line."""
    paths = [path.relative_to(wheel) for floor in FLOORS for path in (wheel / "cardtrail" / floor).rglob("*.py")]
    modules = sorted(".".join(path.with_suffix("").parts).removesuffix(".__init__") for path in paths)
    modules = [name for name in modules if not name.startswith("cardtrail.issuer.ui.")]
    assert len(modules) > 30
    code = f"import importlib; [importlib.import_module(name) for name in {modules!r}]"
    ran = run_in(wheel, bare, code)
    assert (ran.returncode, ran.stderr) == (0, "")


def test_every_public_name_is_there_and_imported_only_when_it_is_asked_for(wheel: Path, bare: Path) -> None:
    code = """
import cardtrail
assert not [name for name in sys.modules if name.startswith("cardtrail.")], "a submodule was imported"
assert "pyreqwest" not in sys.modules and "msgspec" not in sys.modules
for name in cardtrail.__all__:
    assert getattr(cardtrail, name) is not None
print(cardtrail.__file__, cardtrail.__version__, len(dir(cardtrail)))
"""
    ran = run_in(wheel, bare, code)
    assert ran.returncode == 0, ran.stderr
    place, version, names = ran.stdout.split()
    assert place == str(wheel / "cardtrail/__init__.py")
    assert version == cardtrail.__version__
    assert int(names) == len(cardtrail.__all__)
    with pytest.raises(AttributeError, match="no_such_name"):
        _ = cardtrail.no_such_name  # type: ignore[attr-defined]  # that is the point


def test_a_bare_install_talks_to_a_server(wheel: Path, bare: Path, service: Service) -> None:
    service.ingest(event("requested", "installed-1"))
    code = """
import asyncio
import cardtrail

async def main():
    async with cardtrail.AsyncClient(origin, issuer, key=key, kid="k1") as client:
        return (await client.production_status("installed-1")).stage

_, origin, issuer, key = sys.argv
with cardtrail.Client(origin, issuer, key=key, kid="k1") as client:
    found = client.production_status("installed-1").stage
print(found, asyncio.run(main()))
"""
    ran = run_in(wheel, bare, code, service.origin, ISSUER, key_of().as_pem(private=True).decode())
    assert (ran.stdout.split(), ran.stderr) == (["CARD_PROD_REQUESTED"] * 2, "")


def test_the_client_imports_nothing_that_a_bare_install_lacks(wheel: Path, tmp_path: Path) -> None:
    everything = installed(closure_of([*needs_of(wheel), *needs_of(wheel, "platform")]), tmp_path)
    code = f"import cardtrail; cardtrail.Client, cardtrail.AsyncClient; print(*set({HEAVY!r}) & set(sys.modules))"
    ran = run_in(wheel, everything, code)
    assert (ran.stdout.strip(), ran.stderr) == ("", "")


@pytest.mark.parametrize("page", ["README.md", "docs/client.md"])
def test_the_first_lines_for_issuers_run_as_they_stand(
    page: str, wheel: Path, bare: Path, service: Service, tmp_path: Path
) -> None:
    service.ingest(event("requested", "card-1"))
    text = (HOUSE / page).read_text()
    [program] = [block for block in re.findall(r"```python\n(.*?)```", text, re.DOTALL) if "with Client(" in block]
    (tmp_path / "bank.pem").write_bytes(key_of().as_pem(private=True))
    for told, here in (
        ("https://api.d1.thalescloud.io", service.origin), ("MYBANK0001", ISSUER), ('kid="first"', 'kid="k1"'),
        ('"bank.pem"', f'"{tmp_path}/bank.pem"'),
    ):  # fmt: skip
        assert told in program
        program = program.replace(told, here)
    ran = run_in(wheel, bare, program)
    assert (ran.stdout, ran.stderr) == ("CARD_PROD_REQUESTED None\n", "")


def test_an_installed_plugin_costs_a_bare_install_nothing_and_says_what_it_needs(wheel: Path, tmp_path: Path) -> None:
    packages = installed(closure_of([*needs_of(wheel), Requirement("pytest")]), tmp_path)
    (tmp_path / "test_it.py").write_text("""
import sys

def test_nothing():
    assert {name for name in sys.modules if name.startswith("cardtrail.")} == {
        "cardtrail.sandbox", "cardtrail.sandbox.pytest_plugin",
    }

def test_platform(cardtrail_platform):
    pass
""")
    ran = run_in(
        wheel, packages, "import pytest; sys.exit(pytest.main(sys.argv[1:]))", "-p", "no:cacheprovider", str(tmp_path)
    )
    assert "1 passed, 1 error" in ran.stdout, ran.stdout + ran.stderr
    assert re.search(r"is missing: this fixture needs pip install 'cardtrail\[sandbox\]'", ran.stdout)


# ── the command line ─────────────────────────────────────────────────────────────────────────────────────────

MAIN = "from cardtrail.cli import main; main()"


def test_the_command_line_of_a_bare_install_says_what_it_needs(wheel: Path, bare: Path) -> None:
    ran = run_in(wheel, bare, MAIN, "reconcile")
    assert ran.returncode == 1
    assert ran.stderr == "cardtrail: cyclopts is missing: the command line needs pip install 'cardtrail[issuer]'\n"


@pytest.fixture(scope="module")
def kit(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The packages of an install with the extra `issuer`."""
    return installed(closure_of([*needs_of(wheel), *needs_of(wheel, "issuer")]), tmp_path_factory.mktemp("kit"))


def test_a_command_whose_extra_is_missing_says_so_in_one_line(wheel: Path, kit: Path) -> None:
    ran = run_in(wheel, kit, MAIN, "serve", "--help")
    assert ran.returncode == 1, ran.stdout
    assert re.fullmatch(
        r"cardtrail: (starlette|yaml) is missing: serve needs pip install 'cardtrail\[platform\]'\n", ran.stderr
    )


def test_the_list_of_commands_says_which_extra_is_missing(wheel: Path, kit: Path) -> None:
    ran = run_in(wheel, kit, MAIN, "--help")
    assert ran.returncode == 0, ran.stderr
    assert "Needs pip install 'cardtrail[platform]'" in " ".join(ran.stdout.replace("│", " ").split())
