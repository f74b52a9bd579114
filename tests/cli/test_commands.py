"""The command line as a whole."""

import subprocess
import sys

import pytest
from click.testing import CliRunner

from gateway import __version__
from gateway.cli import COMMANDS, main

LATE = ("aiohttp", "aiobotocore", "botocore", "pydantic", "rich", "structlog")
"""What `--help` has no use for."""

LOADED = """
import gc, sys
from gateway.cli import main

def looks():
    return sum(generation["collections"] for generation in gc.get_stats())

before = looks()
main.get_command(None, sys.argv[1])
print(looks() - before, gc.isenabled(), len(gc.get_objects()) < gc.get_freeze_count() / 10)
"""
"""How often cycles are looked for while a command is loaded, and what of it will be looked at."""


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


def test_no_cycles_are_looked_for_while_a_command_is_loaded() -> None:
    """Modules stay: each look would be for nothing, then and later; from there on cycles are looked for as ever."""
    printed = subprocess.run([sys.executable, "-c", LOADED, "serve"], capture_output=True, text=True, check=True)

    assert printed.stdout == "0 True True\n"
