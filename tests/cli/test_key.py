"""`key`: a key that is shown once, and an entry that works."""

from hashlib import sha256
from pathlib import Path

import pytest
from click.testing import CliRunner

from gateway.cli.key import PREFIX, key
from gateway.config.keys import load_keys


def test_a_key_and_its_entry(tmp_path: Path) -> None:
    """Entries go into a file one after the other; the key itself goes nowhere but to standard error."""
    first = CliRunner().invoke(key, ["team-a"])
    second = CliRunner().invoke(key, ["123", "--route", "a", "--route", "1e3"])
    path = tmp_path / "keys.yaml"
    path.write_text("keys:\n" + first.stdout + second.stdout)

    keys = load_keys(path, ("a", "1e3")).keys
    secrets = [printed.stderr.split()[-1] for printed in (first, second)]

    assert [(each.name, each.routes) for each in keys] == [("team-a", "all"), ("123", ("a", "1e3"))]
    assert [each.key_sha256 for each in keys] == [sha256(secret.encode()).hexdigest() for secret in secrets]
    assert all(secret.startswith(PREFIX) and len(secret) == len(PREFIX) + 43 for secret in secrets)
    assert secrets[0] != secrets[1]
    assert secrets[0] not in first.stdout


def test_a_key_pair(tmp_path: Path) -> None:
    """For AWS SDKs: the entry has all of it, and standard error none of it."""
    printed = CliRunner().invoke(key, ["team-b", "--aws"])
    path = tmp_path / "keys.yaml"
    path.write_text("keys:\n" + printed.stdout)
    path.chmod(0o600)

    (pair,) = load_keys(path, ()).keys

    assert pair.access_key_id is not None
    assert pair.secret_access_key is not None
    assert (pair.access_key_id[:3], len(pair.access_key_id), len(pair.secret_access_key)) == ("SGW", 20, 43)
    assert pair.secret_access_key not in printed.stderr


@pytest.mark.parametrize("arguments", [["a b"], ["a\n"], ["-- x"], ["a", "--route", "b: c"], ["a" * 64]])
def test_odd_names_are_refused(arguments: list[str]) -> None:
    """With exit code 2, and no key."""
    printed = CliRunner().invoke(key, arguments)

    assert (printed.exit_code, printed.stdout) == (2, "")
    assert PREFIX not in printed.stderr
