"""Keys files: all mistakes at once, each with its place, and not one secret."""

import json
import re
from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from gateway.config import ConfigError
from gateway.config.keys import Key, Keys, load_keys

DIGEST = "0" * 63 + "a"
ID = "SGWEXAMPLEEXAMPLE234"
SECRET = "an-example-of-40-characters-or-any-from-32"
NAMES = ("classify", "resnet")
GOOD = f"""\
keys:
  - name: team-a
    key_sha256: {DIGEST}
    routes: [classify, resnet]
  - name: team-b
    access_key_id: {ID}
    secret_access_key: {SECRET}
    routes: all
"""
VALID = "valid keys are name, key_sha256, access_key_id, secret_access_key, routes"
A_NAME = "a name of at most 63 letters, digits and hyphens, without a hyphen at either end"
A_ROUTE = "a key of routes or endpoints in the config"
MISLAID = "sgw_a-mislaid-key"
README = (Path(__file__).parents[2] / "config" / "README.md").read_text(encoding="utf-8")


def write(folder: Path, text: str, mode: int = 0o600) -> Path:
    """A keys file."""
    path = folder / "keys.yaml"
    path.write_text(text, encoding="utf-8")
    path.chmod(mode)
    return path


def refused(path: Path) -> list[str]:
    """All that is wrong with it, without its name."""
    with pytest.raises(ConfigError) as caught:
        load_keys(path, NAMES)
    return str(caught.value).replace(f"{path}:", "").splitlines()


def test_both_kinds_of_keys(tmp_path: Path) -> None:
    """An API key by its digest, a key pair with its secret, each with its routes."""
    first, second = load_keys(write(tmp_path, GOOD), NAMES).keys

    assert (first.name, first.key_sha256, first.routes) == ("team-a", DIGEST, ("classify", "resnet"))
    assert (second.access_key_id, second.secret_access_key, second.routes) == (ID, SECRET, "all")
    assert [first.opens("resnet"), first.opens("other"), second.opens("other")] == [True, False, True]


def test_json_will_do(tmp_path: Path) -> None:
    """What programs write is read as well."""
    path = write(tmp_path, json.dumps(yaml.safe_load(GOOD)))

    assert load_keys(path, NAMES) == load_keys(write(tmp_path, GOOD), NAMES)


def test_nobody_at_all(tmp_path: Path) -> None:
    """In an emergency, all keys can be taken away."""
    assert load_keys(write(tmp_path, "keys: []\n"), NAMES).keys == ()


def test_the_example_of_the_reference_is_good(tmp_path: Path) -> None:
    """As it stands there."""
    (example,) = re.findall(r"```yaml\n(keys:\n.*?)```", README, flags=re.DOTALL)

    assert [key.name for key in load_keys(write(tmp_path, example), NAMES).keys] == ["team-a", "team-b"]


BAD = {
    "nothing": ("", ["1:1 found an empty file, wanted a mapping with keys"]),
    "a list": ("- a\n", ["1:1 found a list, wanted a mapping with keys"]),
    "no keys": ("{}\n", ["1:1 keys: found nothing, wanted a list"]),
    "keys of a mapping": (
        f"keys: {{{MISLAID}: team-a}}\n",
        ["1:1 keys: found a mapping, wanted a list"],
    ),
    "a bare key": (
        f"keys: [{MISLAID}]\n",
        ["1:8 keys[0]: found something else, wanted a mapping with name and routes"],
    ),
    "the key for its digest": (
        GOOD.replace(DIGEST, MISLAID),
        ["3:5 keys[0].key_sha256: found something else, wanted the SHA-256 of a key, in 64 hexadecimal digits"],
    ),
    "a short secret": (
        GOOD.replace(SECRET, MISLAID),
        ["7:5 keys[1].secret_access_key: found something else, wanted 32 to 128 printable characters of ASCII"],
    ),
    "a short id": (
        GOOD.replace(ID, MISLAID[:8]),
        ["6:5 keys[1].access_key_id: found something else, wanted 16 to 128 letters, digits or underscores"],
    ),
    "an unknown key": (
        GOOD.replace("key_sha256: ", f"key: {MISLAID}\n    key_sha256: "),
        [f"3:5 keys[0]: an unknown key, {VALID}"],
    ),
    "a key for a setting": (
        GOOD.replace("routes: all", f"routes: all\n    {MISLAID}: x"),
        [f"9:5 keys[1]: an unknown key, {VALID}"],
    ),
    "twice the same": (
        GOOD.replace("routes: all", f"routes: all\n    secret_access_key: {MISLAID}"),
        ["9:5 keys[1].secret_access_key: found the same key again, wanted every key once; line 7 has it"],
    ),
    "a lying tag": (
        GOOD.replace(SECRET, f"!!int {MISLAID}"),
        ["7:24 keys[1].secret_access_key: found something else, wanted what its tag !!int says"],
    ),
    "an alias": (
        GOOD.replace(SECRET, f"*{MISLAID}"),
        ["7:24 keys[1].secret_access_key: found something else, wanted the value itself; aliases are not taken"],
    ),
    "no YAML": (GOOD.replace(SECRET, f"'{MISLAID}"), ["9:1 found something else, wanted YAML"]),
    "half a pair": (
        GOOD.replace(f"    secret_access_key: {SECRET}\n", ""),
        ["6:5 keys[1].access_key_id: found it alone, wanted secret_access_key beside it"],
    ),
    "both kinds": (
        GOOD.replace(f"    access_key_id: {ID}\n", f"    access_key_id: {ID}\n    key_sha256: {'1' * 63}b\n"),
        ["6:5 keys[1].access_key_id: found it beside key_sha256, wanted an entry of its own"],
    ),
    "neither kind": (
        GOOD.replace(f"    key_sha256: {DIGEST}\n", ""),
        ["2:5 keys[0]: found no key, wanted key_sha256, or access_key_id and secret_access_key"],
    ),
    "one key for two": (
        GOOD + f"  - {{name: team-c, key_sha256: {DIGEST.upper()}, routes: all}}\n",
        ["9:20 keys[2].key_sha256: found the same key again, wanted every key once; keys[0].key_sha256 is it"],
    ),
    "a dangling route": (
        GOOD.replace("resnet", "resnt"),
        [f"4:24 keys[0].routes[1]: found 'resnt', wanted {A_ROUTE}; the nearest is 'resnet'"],
    ),
    "routes in words": (
        GOOD.replace("routes: all", "routes: resnet"),
        ["8:5 keys[1].routes: found 'resnet', wanted a list or \"all\""],
    ),
    "no name, no routes": (
        f"keys: [{{key_sha256: {DIGEST}}}]\n",
        [
            f"1:8 keys[0].name: found nothing, wanted {A_NAME}",
            '1:8 keys[0].routes: found nothing, wanted a list or "all"',
        ],
    ),
}


@pytest.mark.parametrize("name", BAD)
def test_every_mistake_is_told_without_a_secret(name: str, tmp_path: Path) -> None:
    """Place, key, what was found and wanted; and never what might be a key."""
    text, lines = BAD[name]

    assert refused(write(tmp_path, text)) == lines
    assert MISLAID not in "".join(lines)


def test_all_mistakes_at_once(tmp_path: Path) -> None:
    """In the order of the file."""
    text = GOOD.replace("team-a", "team_a").replace("resnet", "vgg").replace(SECRET, "short")

    assert [line.split(":")[0] for line in refused(write(tmp_path, text))] == ["2", "4", "7"]


SECRETS = st.text("abcdefXYZ0123456789_-", min_size=24, max_size=40).map(lambda text: f"sgw{text}")
SPOTS = [match.start() for match in re.finditer(r"[ \n:{},\[\]]", GOOD)]


@given(secret=SECRETS, spot=st.sampled_from(SPOTS), before=st.sampled_from(["", " ", "\n", ": ", "!", "*", "&", "'"]))
def test_a_key_shows_nowhere(tmp_path_factory: pytest.TempPathFactory, secret: str, spot: int, before: str) -> None:
    """Wherever a key is pasted into the file, but as the name of a caller or route: no message repeats it."""
    text = f"{GOOD[:spot]}{before}{secret}{GOOD[spot:]}"
    path = write(tmp_path_factory.getbasetemp(), text)
    try:
        load_keys(path, NAMES)
    except ConfigError as error:
        shown = [line for line in str(error).splitlines() if secret[:24] in line]
        assert [line for line in shown if not re.search(r"keys\[\d\]\.(name|routes)", line)] == []


@pytest.mark.parametrize(
    ("mode", "says"),
    [
        (0o644, ["everybody may read the file (mode 644), and it holds secrets"]),
        (0o666, ["everybody may write the file (mode 666)"]),
        (0o602, ["everybody may write the file (mode 602)"]),
        (0o640, []),
        (0o400, []),
    ],
)
def test_secrets_are_kept_from_strangers(mode: int, says: list[str], tmp_path: Path) -> None:
    """A file with secrets that everybody may read is refused, and so is any that everybody may write."""
    path = write(tmp_path, GOOD, mode)

    if says:
        assert [line for line in refused(path) if says[0] in line]
    else:
        assert len(load_keys(path, NAMES).keys) == 2


def test_digests_are_no_secret(tmp_path: Path) -> None:
    """Everybody may read a file that has nothing else."""
    digests = GOOD.partition("  - name: team-b")[0]

    assert len(load_keys(write(tmp_path, digests, 0o644), NAMES).keys) == 1
    assert refused(write(tmp_path, digests, 0o646))


def test_a_missing_file_is_a_mistake(tmp_path: Path) -> None:
    """As for the config."""
    assert refused(tmp_path / "none.yaml") == [" the file cannot be read: No such file or directory"]


def test_the_rules_hold_in_python_too() -> None:
    """What a file may not say, a program may not either; and no error shows a secret."""
    key = Key(name="a", access_key_id=ID, secret_access_key=SECRET, routes="all")
    with pytest.raises(ValidationError) as caught:
        Keys(keys=(key, key, Key(name="b", routes="all")))

    message = str(caught.value)
    assert "keys[1].access_key_id: found the same key again" in message
    assert "keys[2]: found no key" in message
    assert SECRET not in message
    assert SECRET not in f"{key!r} {key}"
