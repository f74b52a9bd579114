"""The documentation names what there is, all of it, and nothing else."""

import json
import re
from pathlib import Path

import pytest
import yaml

from gateway import errors, health, metrics
from gateway.asked import QUEUE_TIMEOUT
from gateway.config import Config
from gateway.config.problems import dotted
from gateway.config.schema import Reference, Schema
from gateway.models import Unseen
from gateway.sagemaker.protocol import OPERATIONS

CONFIG = Path(__file__).parents[1] / "config"
README = (CONFIG / "README.md").read_text(encoding="utf-8")
EXAMPLE = (CONFIG / "example.yaml").read_text(encoding="utf-8")
ALL_SETTINGS = {dotted(path).replace("[0]", "[]"): node for path, node in Reference().settings().items()}
# A list of plain values is one setting: its entries are told with it.
SETTINGS = {name: node for name, node in ALL_SETTINGS.items() if not name.endswith("[]") or "properties" in node}
LEAVES = {
    name: node
    for name, node in SETTINGS.items()
    if not any(other.startswith((f"{name}.", f"{name}[]")) for other in SETTINGS)
}


def section(title: str) -> str:
    """The part of the reference under a heading of the second level."""
    return README.partition(f"\n## {title}\n")[2].partition("\n## ")[0]


def documented_settings() -> dict[str, str]:
    """The settings of the reference with their text."""
    parts = re.split(r"^####? (.+)$", section("Settings"), flags=re.MULTILINE)
    texts = dict(zip(parts[1::2], parts[2::2], strict=True))
    del texts["Dangerous settings"]
    return texts


def table(title: str) -> list[dict[str, str]]:
    """The rows of the table in a section, by column."""
    lines = [line for line in section(title).splitlines() if line.startswith("|")]
    head, _, *rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    return [dict(zip(head, row, strict=True)) for row in rows]


def test_the_settings_of_the_reference_are_those_of_the_models() -> None:
    """Every setting has its heading in the reference, in the order of the models, and no heading is left over."""
    assert list(documented_settings()) == list(SETTINGS)


@pytest.mark.parametrize(("name", "node"), LEAVES.items(), ids=LEAVES)
def test_a_setting_has_type_default_and_unit(name: str, node: Schema) -> None:
    """The reference tells the type, the real default, and the unit that the key carries."""
    text = " ".join(documented_settings()[name].split())
    default = node.get("default")
    written = str(default).lower() if isinstance(default, bool) else default

    assert " Type: " in text
    if "default" not in node:
        assert text.endswith("Required.")
    elif default is None:
        assert re.search(r"Default: [^`]+$", text)
    else:
        assert text.endswith(f"Default: `{written}`")
    for unit in ("seconds", "bytes"):
        assert (f"[{unit}]" in text) == name.endswith(f"_{unit}")


@pytest.mark.parametrize(("name", "node"), LEAVES.items(), ids=LEAVES)
def test_a_setting_has_its_range(name: str, node: Schema) -> None:
    """The reference tells the range of a number where it is more than being above 0."""
    text = documented_settings()[name]

    for choice in node.get("anyOf", [node]):
        if "minimum" in choice:
            assert f"{choice['minimum']} to {choice['maximum']}" in text


def test_the_example_has_every_setting() -> None:
    """Every setting stands in example.yaml, each with a comment that tells its default."""
    found: dict[str, object] = {}
    _walk("", yaml.safe_load(EXAMPLE), found)

    assert set(found) == set(LEAVES), set(found) ^ set(LEAVES)
    for name in LEAVES:
        key = name.rpartition(".")[2]
        comment = re.search(rf"((?:^ *#.*\n)+) *(?:- )?{key}:", EXAMPLE, flags=re.MULTILINE)
        assert comment is not None, name
        assert "efault" in comment[1], name


def _walk(path: str, value: object, found: dict[str, object]) -> None:
    if isinstance(value, dict):
        for key, child in value.items():
            step = "NAME" if path in {"endpoints", "routes"} else key
            _walk(f"{path}.{step}" if path else step, child, found)
    elif isinstance(value, list) and path not in LEAVES:
        for child in value:
            _walk(f"{path}[]", child, found)
    else:
        found[path] = value


@pytest.mark.parametrize("name", ["local", "minimal", "example"])
def test_editors_find_the_schema(name: str) -> None:
    """Each config begins with the line by which editors find the schema that is shipped beside it."""
    first = (CONFIG / f"{name}.yaml").read_text(encoding="utf-8").partition("\n")[0]

    assert first == "# yaml-language-server: $schema=sagemaker-gateway.schema.json"


def test_every_setting_has_a_description() -> None:
    """What editors show comes from the models."""
    assert [name for name, node in SETTINGS.items() if not node.get("description")] == []
    assert Config.__doc__


def test_every_dangerous_setting_exists() -> None:
    """The section on dangerous settings names real ones only."""
    named = re.findall(
        r"`([a-zA-Z_.\[\]]+\.[a-zA-Z_.\[\]]+)`", section("Settings").partition("### Dangerous settings")[2]
    )

    assert named
    assert set(named) <= set(SETTINGS)


def test_the_metrics_of_the_reference_are_those_of_the_code() -> None:
    """Name, type and labels of every metric, and what to do when it rises."""
    rows = table("Metrics")
    kinds = (("counter", metrics.COUNTERS), ("histogram", metrics.HISTOGRAMS), ("gauge", metrics.GAUGES))
    expected = {
        (row.name + ("_total" if kind == "counter" else ""), kind, row.labels) for kind, rows_ in kinds for row in rows_
    }
    documented = [
        (name, row["type"], tuple(row["labels"].split(", ")))
        for row in rows
        for name in re.findall(r"`(\w+)`", row["name"])
    ]

    assert set(documented) == expected
    assert len(documented) == len(expected)
    assert all(row["when it rises"] for row in rows)


def test_the_reasons_to_go_on_are_those_of_the_code() -> None:
    """The reference lists the values of the label, all of them."""
    (row,) = [row for row in table("Metrics") if row["name"] == "`failovers_total`"]
    listed = row["what it is"].partition("Reason is ")[2]

    assert set(re.findall(r"`(\w+)`", listed)) == {reason.value for reason in Unseen}


def test_the_figures_of_ejection_are_those_of_the_code() -> None:
    """How many refused connections, how long the pauses."""
    text = " ".join(section("Routes over several endpoints").split())
    first, longest = health.FIRST_PAUSE_SECONDS, health.LONGEST_PAUSE_SECONDS

    assert f"After {health.REFUSALS} refused connections in a row an endpoint is left out for {first:g} s" in text
    assert f"Each try in vain doubles the pause, up to {longest[errors.UNREACHABLE]:g} s" in text
    assert f"One call tries after {first:g} s" in text
    assert f"each try in vain doubles the pause, up to {longest[errors.NO_CAPACITY]:g} s" in text


def test_the_headers_of_the_reference_are_those_of_the_code() -> None:
    """Every header that the sections name is one that SageMaker takes, or one that the gateway gives."""
    named = set(re.findall(r"`(X-[A-Za-z-]+)`", README))
    known = {header.name for operation in OPERATIONS for header in operation.request_headers.values()}

    assert named >= {"X-Gateway-Endpoint", "X-Amzn-SageMaker-Session-Id"}
    assert named <= known | {"X-Gateway-Endpoint", QUEUE_TIMEOUT}


def test_the_actions_of_the_policy_are_explained() -> None:
    """Every IAM action that iam-policy.json grants is named with what it is for, and no other one."""
    policy = json.loads((CONFIG / "iam-policy.json").read_text(encoding="utf-8"))
    actions = {
        action
        for statement in policy["Statement"]
        for action in ([statement["Action"]] if isinstance(statement["Action"], str) else statement["Action"])
    }

    assert set(re.findall(r"`((?:sagemaker|sts):\w+)`", section("Credentials, accounts, regions"))) == actions
    assert set(re.findall(r"`((?:sagemaker|sts):\w+)`", README)) == actions


def test_every_link_within_the_reference_leads_somewhere() -> None:
    """Anchors are headings as GitHub spells them."""
    headings = re.findall(r"^#+ (.+)$", README, flags=re.MULTILINE)
    anchors = {re.sub(r"[^a-z0-9_ -]", "", heading.lower()).replace(" ", "-") for heading in headings}

    assert set(re.findall(r"\(#([^)]+)\)", README)) <= anchors


def test_every_file_is_in_the_table() -> None:
    """Whoever looks into the directory finds each file explained."""
    listed = set(re.findall(r"`([\w.-]+)`", README.partition("\n## ")[0]))

    assert {path.name for path in CONFIG.iterdir()} - {"README.md"} <= listed


def test_the_buckets_of_the_reference_are_those_of_the_code() -> None:
    """The list of buckets is the real one."""
    (listed,) = re.findall(r"Buckets of the histograms, in seconds: (.+)\.", section("Metrics"))

    assert tuple(map(float, listed.split())) == metrics.BUCKETS


def test_the_refusals_of_the_reference_are_those_of_the_code() -> None:
    """Reason, status, code and Retry-After of every refusal, and what to do about it."""
    rows = table("Refusals")
    documented = [
        (row["reason"].strip("`"), int(row["status"]), row["code"], row["Retry-After"] == "yes") for row in rows
    ]

    assert documented == [(row.reason, row.status, row.code, row.retry_after is not None) for row in errors.ROWS]
    assert all(row["cause"] and row["what to do"] for row in rows)
