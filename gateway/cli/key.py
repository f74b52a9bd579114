"""`key`: makes a key for a caller, and the entry of it for the keys file."""

import json
import secrets
from hashlib import sha256

import click

from gateway.cli.errors import fail
from gateway.config.keys import ALL
from gateway.config.values import is_name

PREFIX = "sgw_"
"""What every key begins with, so that scanners for secrets can find one that has got somewhere."""

_ID_ALPHABET = "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567"


@click.command()
@click.argument("name")
@click.option(
    "--route",
    "routes",
    multiple=True,
    metavar="NAME",
    help="A route or endpoint that it may call; as often as there are some. Default: all.",
)
@click.option("--aws", is_flag=True, help="Make a key pair that AWS SDKs sign with, in place of an API key.")
def key(name: str, routes: tuple[str, ...], *, aws: bool) -> None:
    """Make a key for a caller: its entry goes to standard output, for the keys file; the key to standard error, once.

    The file keeps only the SHA-256 of a key. Of a key pair it keeps the secret too, since signatures cannot be checked
    without it. A file of keys begins with the line `keys:`.
    """
    if wrong := [each for each in (name, *routes) if not is_name(each)]:
        fail(
            f"{wrong[0]!r}: not a name of at most 63 letters, digits and hyphens, without a hyphen at either end",
            code=2,
        )
    # A digest or a name may look like a number: JSON's quotes are YAML's too.
    entry: dict[str, object] = {"name": name}
    if aws:
        entry["access_key_id"] = "SGW" + "".join(secrets.choice(_ID_ALPHABET) for _ in range(17))
        entry["secret_access_key"] = secrets.token_urlsafe(32)
        told = "its owner needs the two values of the entry: AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"
    else:
        secret = PREFIX + secrets.token_urlsafe(32)
        entry["key_sha256"] = sha256(secret.encode()).hexdigest()
        told = f"the key, which is shown this once: {secret}"
    entry["routes"] = list(routes) or ALL
    click.echo(told, err=True)
    lines = [f"{field}: {json.dumps(value)}" for field, value in entry.items()]
    click.echo("  - " + "\n    ".join(lines))
