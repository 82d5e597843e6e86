"""docs/openapi.yaml is the truth: it is sound, its examples keep to it, and so does the running service."""

import json
import re
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema_rs
import pytest
import schemathesis
import yaml

from cardtrail.platform.apidocs import METHODS, document
from cardtrail.platform.http import ROUTES
from cardtrail.platform.parties import READ
from tests.background import LOOPBACK
from tests.events import event
from tests.serving import ISSUER, Service, register_parties, serving

Json = dict[str, Any] | list[Any] | str | int | float | bool | None
CONTRACT: dict[str, Any] = yaml.safe_load(document())
NOT_ASKED = {
    # Elements are judged each by itself: a bad one is answered in its place and refuses nothing else.
    "orderCards": ["negative_data_rejection"],
    "ingestEvents": ["negative_data_rejection"],
    # Nobody can make up an assertion that is signed.
    "issueToken": ["positive_data_acceptance"],
    # Nor a cursor of this very database.
    "getChanges": ["positive_data_acceptance"],
    # Which members go together is told in words.
    "replayNotifications": ["positive_data_acceptance"],
    # Nor a certificate with its key; and the form of a URL is narrower than its pattern.
    "addEndpoint": ["positive_data_acceptance"],
    "putEndpoint": ["positive_data_acceptance"],
}
"""Checks that make no sense for an operation."""
FEW_AND_THE_SAME = [
    "--max-examples=10", "--generation-deterministic", "--generation-with-security-parameters=false",
    "--request-timeout=10", "--suppress-health-check=all", "--warnings=off", "--no-color",
]  # fmt: skip
"""Each run sends the same cases, and few of them."""


# ── the document ─────────────────────────────────────────────────────────────────────────────────────────────


def nodes(value: Json, pointer: str = "#") -> Iterator[tuple[str, Any]]:
    """Every value of a document with its JSON pointer; what is inside of examples is data, not document."""
    yield pointer, value
    if isinstance(value, list):
        for place, inner in enumerate(value):
            yield from nodes(inner, f"{pointer}/{place}")
    if isinstance(value, dict):
        for name, inner in value.items():
            if name not in {"value", "example"}:
                yield from nodes(inner, f"{pointer}/{name.replace('~', '~0').replace('/', '~1')}")


def resolved(node: dict[str, Any]) -> dict[str, Any]:
    """What a node refers to, or the node itself."""
    while "$ref" in node:
        target = CONTRACT
        for step in node["$ref"].removeprefix("#/").split("/"):
            target = target[step.replace("~1", "/").replace("~0", "~")]
        node = target
    return node


def operations() -> Iterator[tuple[str, str, dict[str, Any]]]:
    """(method, path, operation) of every operation."""
    for path, item in CONTRACT["paths"].items():
        for method in item.keys() & set(METHODS):
            yield method, path, item[method]


def examples() -> Iterator[tuple[str, dict[str, Any], Any]]:
    """(name, schema, value) of every example in the document; the name says where it stands."""
    for pointer, node in nodes(CONTRACT):
        if isinstance(node, dict) and "schema" in node:
            if "example" in node:
                yield pointer, node["schema"], node["example"]
            for name, example in node.get("examples", {}).items():
                yield f"{pointer}/{name}", node["schema"], resolved(example)["value"]


def test_the_document_is_openapi_3_1() -> None:
    schemathesis.openapi.from_dict(CONTRACT).validate()

    assert CONTRACT["openapi"].startswith("3.1.")


def test_the_document_is_plain_json_data() -> None:
    # A date without quotes would come out of YAML as something that JSON does not have.
    assert json.loads(json.dumps(CONTRACT)) == CONTRACT


def test_every_schema_is_a_json_schema() -> None:
    schemas = [
        *CONTRACT["components"]["schemas"].values(),
        *(node["schema"] for _, node in nodes(CONTRACT) if isinstance(node, dict) and "schema" in node),
    ]
    for schema in schemas:
        jsonschema_rs.meta.validate({"$schema": "https://json-schema.org/draft/2020-12/schema", **schema})


def test_every_reference_leads_somewhere() -> None:
    references = [node for _, node in nodes(CONTRACT) if isinstance(node, dict) and "$ref" in node]

    assert references
    assert all(map(resolved, references))


def test_every_component_is_used() -> None:
    used = {node["$ref"] for _, node in nodes(CONTRACT) if isinstance(node, dict) and isinstance(node.get("$ref"), str)}
    there = {
        f"#/components/{kind}/{name}"
        for kind, components in CONTRACT["components"].items()
        for name in components
        if kind != "securitySchemes"
    }

    assert used == there


def test_operation_ids_are_unique() -> None:
    counts = Counter(operation["operationId"] for _, _, operation in operations())

    assert max(counts.values()) == 1


def test_every_parameter_of_a_path_is_described() -> None:
    for _, path, operation in operations():
        described = [resolved(parameter) for parameter in operation.get("parameters", ())]

        assert set(re.findall(r"\{(\w+)\}", path)) == {each["name"] for each in described if each["in"] == "path"}


def test_every_operation_that_needs_a_token_names_a_known_scope_and_the_refusals() -> None:
    for _, path, operation in operations():
        for need in operation["security"]:
            [scope] = need["accessToken"]

            assert f"`{scope}`" in CONTRACT["components"]["securitySchemes"]["accessToken"]["description"]
            assert {"401", "403", "429", "503"} <= operation["responses"].keys(), path


def test_every_body_has_an_example() -> None:
    bare = [
        pointer
        for pointer, node in nodes(CONTRACT)
        if re.search(r"/content/[^/]+$", pointer) and not node.get("examples")
    ]

    assert not bare


@pytest.mark.parametrize(("schema", "value"), [pytest.param(*each, id=name) for name, *each in examples()])
def test_example_keeps_to_its_schema(schema: dict[str, Any], value: Json) -> None:
    # The components come along for its references.
    whole = schema | {"components": CONTRACT["components"]}

    jsonschema_rs.Draft202012Validator(whole, validate_formats=True).validate(value)


def test_the_service_serves_exactly_what_is_documented() -> None:
    documented = {(method.upper(), path) for method, path, _ in operations()}

    assert set(ROUTES) == documented
    assert len(ROUTES) == len(documented)


# ── the service ──────────────────────────────────────────────────────────────────────────────────────────────


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """A service that is not shared with other tests: here it gets orders, events and bad tokens of all kinds."""
    folder = tmp_path_factory.mktemp("contract")
    url = f"sqlite:///{folder}/cardtrail.db"
    register_parties(url)
    # Nothing is sent by itself, and what is tried out never leaves the machine.
    with serving(url, folder, "--no-deliver", "--delivery-timeout=1", *LOOPBACK) as running:
        token = running.token("cardtrail:operate")
        endpoint = {"endpointId": "hook", "url": "http://127.0.0.1:1"}
        answer = running.call("POST", f"/operator/v1/issuers/{ISSUER}/endpoints", endpoint, token=token)
        assert answer.status == 201
        yield running


def authorization_of(service: Service, operation: dict[str, Any]) -> dict[str, str]:
    """The header that allows an operation, by the scope it names; none where it names none."""
    scopes = [scope for need in operation["security"] for scope in need["accessToken"]]
    return {"Authorization": f"Bearer {service.token(scopes[0])}"} if scopes else {}


def settings_of(service: Service, operation: dict[str, Any]) -> str:
    """What schemathesis must know about an operation, in TOML. All its checks are on unless they are named here."""
    name = operation["operationId"]
    headers = [f"headers.{key} = {json.dumps(value)}" for key, value in authorization_of(service, operation).items()]
    checks = [f"checks.{check}.enabled = false" for check in NOT_ASKED.get(name, ())]
    told = [*headers, *checks]
    return "\n".join(["[[operations]]", f'include-operation-id = "{name}"', *told, ""]) if told else ""


def run_schemathesis(service: Service, folder: Path, phases: str, **ids: str) -> "subprocess.CompletedProcess[str]":
    """Try the service against the contract, with good tokens, about these ids where they are given."""
    settings = [f'parameters.{name} = "{value}"\n' for name, value in ids.items()]
    settings += [settings_of(service, operation) for _, _, operation in operations()]
    (folder / "schemathesis.toml").write_text("".join(settings), encoding="utf-8")
    # Open lists are closed: clients must expect new values, but this service has no others to write.
    (folder / "contract.yaml").write_text(document().replace("x-extensible-enum:", "enum:"), encoding="utf-8")
    command = [sys.executable, "-m", "schemathesis.cli", "run", "contract.yaml", f"--url={service.base_url}"]
    return subprocess.run(
        [*command, f"--phases={phases}", *FEW_AND_THE_SAME], cwd=folder, capture_output=True, text=True, check=False
    )


def test_the_service_keeps_to_the_contract_at_every_limit(service: Service, tmp_path: Path) -> None:
    # Where no id is tried, the issuer and the card are those of the document's examples.
    service.ingest(event("requested", "card-0001"))

    run = run_schemathesis(service, tmp_path, "examples,coverage")

    assert run.returncode == 0, run.stdout + run.stderr


def known_ids(service: Service) -> dict[str, str]:
    """Ids of things that are there."""
    path = f"/banking/v1/issuers/{ISSUER}/notifications?limit=1"
    [notification] = service.call("GET", path, token=service.token(READ)).json["notifications"]
    told = {"notificationId": notification["notificationId"], "endpointId": notification["endpointId"]}
    return {"issuerId": ISSUER, "cardId": "card-0001", **told}


@pytest.mark.parametrize("is_known", [True, False], ids=["known ids", "any ids"])
def test_the_service_keeps_to_the_contract_whatever_is_sent(
    service: Service, tmp_path: Path, *, is_known: bool
) -> None:
    service.ingest(event("requested", "card-0001"))
    ids = known_ids(service) if is_known else {}

    run = run_schemathesis(service, tmp_path, "fuzzing", **ids)

    assert run.returncode == 0, run.stdout + run.stderr
