"""What `check` and `serve` say of keys and certificates: all of it that is wrong, and no secret."""

import subprocess
import sys
from hashlib import sha256
from pathlib import Path
from typing import Any

import aiohttp
import yaml
from click.testing import CliRunner, Result

from gateway.cli.check import check
from tests.certificates import make_certificate
from tests.processes import running, write_yaml
from tests.stand import REGION

SECRET = "sgw_an-api-key-of-a-test"
PAIR = {"access_key_id": "SGWEXAMPLEEXAMPLE234", "secret_access_key": "an-example-of-40-characters-or-any-from-32"}
TEAM_A = {"name": "team-a", "key_sha256": sha256(SECRET.encode()).hexdigest(), "routes": ["seed"]}
TEAM_B = {"name": "team-b", **PAIR, "routes": "all"}


def write(folder: Path, *keys: object, **listen: Any) -> str:
    """A config beside a file of these keys; its path."""
    (folder / "keys.yaml").touch(mode=0o600)
    (folder / "keys.yaml").write_text(yaml.safe_dump({"keys": list(keys)}))
    config = {
        "listen": {"port": 0, "keys_file": "keys.yaml", **listen},
        "aws": {"region": REGION, "endpoint_url": "http://127.0.0.1:9"},
        "endpoints": {"seed": {"instances": 1}},
    }
    return write_yaml(folder / "gateway.yaml", config)


def run_check(path: str) -> Result:
    """`sagemaker-gateway check PATH`."""
    return CliRunner().invoke(check, [path])


def serve(path: str) -> subprocess.CompletedProcess[str]:
    """The command, where it is expected to end by itself."""
    command = [sys.executable, "-m", "gateway", "serve", "--config", path]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


def test_check_says_who_may_call(tmp_path: Path) -> None:
    """Names, how they show who they are, and what they may call; the scheme is that of the listener."""
    tls = make_certificate(tmp_path).settings
    printed = run_check(write(tmp_path, TEAM_A, TEAM_B, host="0.0.0.0", tls=tls)).output

    rows = [line.split() for line in printed.splitlines()]
    assert ["team-a", "a", "key", "seed"] in rows
    assert ["team-b", "a", "signature", "of", "AWS", "everything"] in rows
    assert "https://0.0.0.0:0 -> " in printed
    assert "note: admin.port: there is none" in printed
    assert [secret for secret in (*PAIR.values(), str(TEAM_A["key_sha256"])) if secret in printed] == []


def test_check_refuses_what_serve_would(tmp_path: Path) -> None:
    """A keys file or certificate with mistakes: exit code 2, and where they are."""
    bad_keys = write(tmp_path, {**TEAM_A, "key_sha256": SECRET, "routes": ["sead"]})
    for ended in (run_check(bad_keys), serve(bad_keys)):
        code = ended.exit_code if isinstance(ended, Result) else ended.returncode
        first, second = ended.stderr.splitlines()
        assert code == 2
        assert first.startswith(f"{tmp_path}/keys.yaml:2:3 keys[0].key_sha256: found something else")
        assert second.startswith(f"{tmp_path}/keys.yaml:5:5 keys[0].routes[0]: found 'sead', wanted a key of routes")

    no_certificate = write(tmp_path, TEAM_A, tls={"certificate": "none.crt", "key": "none.key"})
    checked = run_check(no_certificate)
    assert (checked.exit_code, checked.stderr) == (
        2,
        f"{tmp_path}/none.crt: the file cannot be read: No such file or directory\n",
    )
    served = serve(no_certificate)
    assert (served.returncode, served.stderr) == (1, checked.stderr)


def test_an_open_gateway_does_not_start(tmp_path: Path) -> None:
    """Beyond this machine only with keys, or where it is meant so; the refusal says how."""
    ended = serve(write(tmp_path, keys_file=None, host="0.0.0.0"))

    assert ended.returncode == 2
    assert "listen.host: found '0.0.0.0'" in ended.stderr
    assert "set listen.keys_file, or listen.open: true" in ended.stderr


async def test_a_gateway_with_keys_serves(tmp_path: Path) -> None:
    """Beyond this machine too: it starts, refuses strangers, and nothing that it writes holds a key."""
    path = write(tmp_path, TEAM_A, TEAM_B, host="0.0.0.0")
    async with running("serve", "--config", path) as gateway, aiohttp.ClientSession() as session:
        url = gateway.url.replace("0.0.0.0", "127.0.0.1") + "/endpoints/seed/invocations"
        statuses = []
        for headers in ({}, {"x-api-key": "wrong"}, {"x-api-key": SECRET}):
            async with session.post(url, headers=headers) as response:
                statuses.append(response.status)
        gateway.process.terminate()
        errors = (await gateway.errors).decode()

    assert statuses == [403, 403, 503]  # nobody is at home behind it
    assert '"caller": "team-a"' in errors
    assert SECRET not in errors
