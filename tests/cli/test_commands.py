"""The command line as a whole."""

import subprocess
import sys

import pytest
from click.testing import CliRunner

from gateway import __version__
from gateway.cli import COMMANDS, main

LATE = ("aiohttp", "aiobotocore", "botocore", "pydantic", "rich", "structlog")
"""What `--help` has no use for."""

SERVED = """
import asyncio, sys
import gateway.cli.serve
from gateway.app import open_gateway
from gateway.config import Config
from gateway.log import make_logger

async def serve():
    settings = {"region": "us-east-1", "endpoint_url": "http://127.0.0.1:1"}
    config = {"listen": {"port": 0}, "aws": settings, "endpoints": {"resnet": {"instances": 1}}}
    async with open_gateway(Config.model_validate(config), make_logger()):
        print([name for name in sys.argv[1:] if name in sys.modules])

asyncio.run(serve())
"""
"""A gateway whose keys are in the environment, and whose SageMaker has an address in the config."""


def test_help_names_every_command() -> None:
    """With a line for each."""
    printed = CliRunner().invoke(main, ["--help"])

    assert printed.exit_code == 0
    assert [name for name in COMMANDS if f"\n  {name} " not in printed.output] == []


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_help(name: str) -> None:
    """Each command can be loaded, and says what it does."""
    printed = CliRunner().invoke(main, [name, "--help"])

    assert (printed.exit_code, printed.output.startswith("Usage: ")) == (0, True)


def test_an_unknown_command_is_refused() -> None:
    """Exit code 2, as for any mistake on the command line."""
    printed = CliRunner().invoke(main, ["sevre"])

    assert printed.exit_code == 2
    assert "sevre" in printed.output


def test_the_version_is_told() -> None:
    """By the option that everybody tries."""
    assert CliRunner().invoke(main, ["--version"]).output == f"sagemaker-gateway, version {__version__}\n"


def test_help_loads_nothing_that_it_does_not_need() -> None:
    """It is there at once, because only click is imported."""
    code = "import sys, gateway.cli; print([name for name in sys.argv[1:] if name in sys.modules])"

    printed = subprocess.run([sys.executable, "-c", code, *LATE], capture_output=True, text=True, check=True)

    assert printed.stdout == "[]\n"


def test_aws_is_asked_nothing_where_there_is_nothing_to_ask() -> None:
    """Neither aiobotocore nor a session of botocore is loaded for keys of the environment: it would be a third more."""
    late = ("aiobotocore", "botocore.session", "botocore.credentials", "gateway.emulator")

    printed = subprocess.run([sys.executable, "-c", SERVED, *late], capture_output=True, text=True, check=True)

    assert printed.stdout == "[]\n"
