"""How a command ends when it cannot do what was asked: a text for people, an exit code for scripts."""

import sys
from typing import NoReturn

import click


def fail(message: str, *, code: int) -> NoReturn:
    """Print the message to standard error and exit: 2 for a mistake in the input, 1 for one of the surroundings."""
    click.echo(message, err=True)
    sys.exit(code)
