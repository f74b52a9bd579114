"""`emulate` as a real process, alone and with a gateway in front: what `make run` does."""

import signal
import socket
import subprocess
import sys
from pathlib import Path

import aiohttp

from tests.curl import run_curl
from tests.processes import running, write_yaml
from tests.stand import REGION

FLEETS = {"seed": {"model": {"seconds": 0}}}


async def test_a_gateway_in_front_prints_a_curl_line_that_works(tmp_path: Path, unused_tcp_port: int) -> None:
    """Both come up, the printed line gets its answer, and SIGTERM takes both down with exit code 0."""
    emulator = write_yaml(
        tmp_path / "emulator.yaml", {"listen": {"port": unused_tcp_port}, "region": REGION, "endpoints": FLEETS}
    )
    gateway = write_yaml(
        tmp_path / "gateway.yaml",
        {
            "listen": {"port": 0},
            "aws": {"region": REGION, "endpoint_url": f"http://127.0.0.1:{unused_tcp_port}"},
            "endpoints": {"seed": {"instances": 1}},
            "routes": {"predict": {"path": "/predict", "targets": [{"endpoint": "seed"}]}},
        },
    )
    async with running("emulate", "--config", emulator, "--gateway", gateway) as command:
        assert command.process.stdout is not None
        listening = (await command.process.stdout.readline()).decode()
        hint = (await command.process.stdout.readline()).decode().strip()
        answer = await run_curl(hint.removeprefix("try: "))
        command.process.send_signal(signal.SIGTERM)
        code = await command.process.wait()

    assert listening.startswith("listening on http://127.0.0.1:")
    assert hint.startswith("try: curl ")
    assert hint.endswith("/predict")
    assert answer == b'{"message":"finish"}'
    assert code == 0


async def test_alone_it_emulates_the_seed() -> None:
    """Without a file there is one endpoint, as in the experiment."""
    async with running("emulate", "--port", "0") as command, aiohttp.ClientSession() as session:
        async with session.get(f"{command.url}/_emulator/endpoints") as response:
            fleets = await response.json()
        command.process.send_signal(signal.SIGINT)
        code = await command.process.wait()

    assert (list(fleets), len(fleets["seed"]["instances"]), code) == (["seed"], 2, 0)


def test_a_gateway_that_cannot_start_takes_the_emulator_down(tmp_path: Path) -> None:
    """Exit code 1 with the gateway's own reason, and no traceback."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        gateway = write_yaml(
            tmp_path / "gateway.yaml",
            {
                "listen": {"port": taken.getsockname()[1]},
                "aws": {"region": REGION, "endpoint_url": "http://127.0.0.1:9"},
                "endpoints": {"seed": {"instances": 1}},
            },
        )
        ended = subprocess.run(
            [sys.executable, "-m", "gateway", "emulate", "--port", "0", "--gateway", gateway],
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )

    assert ended.returncode == 1
    assert "cannot listen on 127.0.0.1" in ended.stderr
    assert "Traceback" not in ended.stderr


def test_bad_settings_exit_2_without_a_traceback(tmp_path: Path) -> None:
    """Mistakes are said as those of the gateway's own config are."""
    path = write_yaml(tmp_path / "emulator.yaml", {"endpoints": {"seed": {"instance": 2}}})

    ended = subprocess.run(
        [sys.executable, "-m", "gateway", "emulate", "--config", path],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )

    assert ended.returncode == 2
    assert "instance" in ended.stderr
    assert "Traceback" not in ended.stderr
