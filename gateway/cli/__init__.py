"""The commands of `sagemaker-gateway`, each imported only when it is used: `serve` need not wait for the others."""

import gc
from pkgutil import resolve_name

import click

from gateway import __version__

COMMANDS = {
    "serve": "Serve the endpoints of a config until SIGTERM or Ctrl-C.",
    "check": "Say what a config means, or all of its mistakes.",
    "explain": "Say where a request leads, and why.",
    "key": "Make a key for a caller.",
    "emulate": "Run a local SageMaker.",
    "demo": "Measure the seed experiment.",
    "schema": "Print the JSON Schema of the config.",
}
"""Every command, and what `--help` says of it."""

_MODULES = {name: f"gateway.cli.{name}:{name}" for name in COMMANDS} | {"schema": "gateway.cli.check:schema"}


class _Commands(click.Group):
    """Click's way of loading commands late."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002
        return _loaded(cmd_name) if cmd_name in COMMANDS else None

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))


def _loaded(name: str) -> click.Command:
    """A command, loaded without a look for reference cycles: modules stay, and looking took a seventh of the start."""
    gc.disable()
    try:
        command: click.Command = resolve_name(_MODULES[name])
    finally:
        gc.freeze()
        gc.enable()
    return command


@click.command(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="sagemaker-gateway")
def main() -> None:
    """A gateway in front of SageMaker endpoints: a permit per instance, a fair queue, Prometheus."""
