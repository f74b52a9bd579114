"""The README is true: each of its commands, snippets and configs is run as it stands there."""

import asyncio
import re
import shlex
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import yaml

from gateway.config import load
from tests.curl import run_curl
from tests.processes import running, write_yaml

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text()
ADDRESS = "http://127.0.0.1:8080"


def blocks(language: str) -> list[str]:
    """The code blocks of one language, in order."""
    return re.findall(rf"^```{language}\n(.*?)^```$", README, flags=re.MULTILINE | re.DOTALL)


def commands(program: str) -> list[list[str]]:
    """The words of every shell line that begins with a program."""
    lines = [shlex.split(line, comments=True) for block in blocks("sh") for line in block.splitlines()]
    return [words for words in lines if words[:1] == [program]]


@pytest.fixture
async def local(tmp_path: Path, unused_tcp_port: int) -> AsyncIterator[str]:
    """What `make run` starts, on free ports and with a model that is less slow; the gateway's address."""
    emulator = yaml.safe_load((ROOT / "config/emulator.yaml").read_text())
    gateway = yaml.safe_load((ROOT / "config/local.yaml").read_text())
    emulator["listen"]["port"] = unused_tcp_port
    emulator["endpoints"]["seed"]["model"]["seconds"] = 0.1
    gateway["listen"] = {"port": 0}
    gateway["aws"]["endpoint_url"] = f"http://127.0.0.1:{unused_tcp_port}"
    files = write_yaml(tmp_path / "emulator.yaml", emulator), write_yaml(tmp_path / "local.yaml", gateway)
    async with running("emulate", "--config", files[0], "--gateway", files[1]) as command:
        assert command.process.stdout is not None
        yield (await command.process.stdout.readline()).decode().strip().rpartition(" ")[2]


async def test_the_curl_line_gets_its_answer(local: str) -> None:
    """The first thing that a newcomer types."""
    (words,) = commands("curl")

    answer = await run_curl(shlex.join(words).replace(ADDRESS, local))

    assert answer == b'{"message":"finish"}'


async def test_the_boto3_snippet_gets_its_answer(local: str) -> None:
    """The second thing: an SDK with only its endpoint changed."""
    (snippet,) = blocks("python")
    assert ADDRESS in snippet

    python = await asyncio.create_subprocess_exec(
        sys.executable, "-c", snippet.replace(ADDRESS, local), stdout=subprocess.PIPE
    )
    printed, _ = await python.communicate()

    assert printed == b'b\'{"message":"finish"}\'\n'


def test_the_scrape_config_points_at_the_gateway() -> None:
    """Prometheus finds `/metrics` at its default path, on the port of the first command."""
    (scrape,) = [block for block in blocks("yaml") if "scrape_configs" in block]

    (job,) = yaml.safe_load(scrape)["scrape_configs"]

    assert [f"http://{target}" for target in job["static_configs"][0]["targets"]] == [ADDRESS]
    assert "metrics_path" not in job


def test_the_config_with_its_endpoints_loads(tmp_path: Path) -> None:
    """It means what the text around it says."""
    (text,) = [block for block in blocks("yaml") if "endpoints:" in block]
    path = tmp_path / "config.yaml"
    path.write_text(text)

    config = load(path)

    capacities = {name: endpoint.capacity for name, endpoint in config.endpoints.items()}
    assert capacities == {"resnet": 2, "bert": 8, "bert-eu": None}
    assert (config.routes["embed"].fallback, config.endpoint_name("bert-eu")) == (("bert-eu",), "bert")


async def test_the_gateways_own_commands_run(tmp_path: Path) -> None:
    """`check` and `explain` end well on the annotated example, `serve` listens with the smallest (on a free port)."""
    (_, *check), (_, *explain), (_, *serve) = commands("sagemaker-gateway")
    minimal = yaml.safe_load((ROOT / serve[-1]).read_text()) | {"listen": {"port": 0}}

    async def run(words: list[str]) -> bytes:
        command = (sys.executable, "-m", "gateway", *words)
        process = await asyncio.create_subprocess_exec(*command, cwd=ROOT, stdout=subprocess.PIPE)
        printed, _ = await process.communicate()
        assert process.returncode == 0
        return printed

    checked, explained = await run(check), await run(explain)
    async with running(*serve[:-1], write_yaml(tmp_path / "minimal.yaml", minimal)) as command:
        url = command.url

    assert (check[0], explain[0], serve[0]) == ("check", "explain", "serve")
    assert b"classify" in checked
    assert b"/predict: route classify, InvokeEndpoint" in explained
    assert url.startswith("http://127.0.0.1:")


def test_every_link_leads_somewhere() -> None:
    """Relative links name files that exist."""
    links = re.findall(r"\]\((?!https?://)([^)#]+)", README)

    assert [link for link in links if not (ROOT / link).exists()] == []
