"""The IAM policy: it grants what the gateway asks AWS for, on what it asks for, and nothing else."""

import json
import re
from pathlib import Path
from typing import Any

from gateway.sagemaker.control import DESCRIBE_ENDPOINT, DESCRIBE_INFERENCE_COMPONENT
from gateway.sagemaker.protocol import OPERATIONS

POLICY = Path(__file__).parents[2] / "config" / "iam-policy.json"
RESOURCES = {
    **{f"sagemaker:{operation.name}": "endpoint" for operation in OPERATIONS},
    DESCRIBE_ENDPOINT: "endpoint",
    DESCRIBE_INFERENCE_COMPONENT: "inference-component",
    "sts:AssumeRole": "role",
}
"""What the gateway does, and to what."""


def statements() -> list[dict[str, Any]]:
    """The statements of the policy."""
    policy: dict[str, list[dict[str, Any]]] = json.loads(POLICY.read_text(encoding="utf-8"))
    return policy["Statement"]


def test_every_action_is_granted_on_its_resource_alone() -> None:
    """Those of the code, each once, and no wildcard: neither in an action nor in a resource."""
    granted: dict[str, str] = {}
    for statement in statements():
        actions = statement["Action"] if isinstance(statement["Action"], list) else [statement["Action"]]
        found = re.fullmatch(r"arn:aws:(?:sagemaker:REGION|iam:):ACCOUNT:([a-z-]+)/NAME", statement["Resource"])
        assert found, statement
        assert not set(actions) & set(granted)
        granted |= dict.fromkeys(actions, found[1])

    assert granted == RESOURCES
    assert {statement["Effect"] for statement in statements()} == {"Allow"}


def test_every_statement_has_a_name() -> None:
    """By which a reader knows what to leave out: letters and digits, as IAM wants it, and none twice."""
    names = [statement["Sid"] for statement in statements()]
    assert len(set(names)) == len(names)
    assert all(re.fullmatch("[A-Za-z0-9]+", name) for name in names)
