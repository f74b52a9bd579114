"""The image and the two commands: every step of the Dockerfile is walked, every command of the Makefile exists."""

import configparser
import os
import re
import shlex
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from gateway import __version__

ROOT = Path(__file__).parent.parent
PREFIX = "/opt/gateway"


@dataclass(frozen=True)
class Step:
    """One instruction of the Dockerfile."""

    name: str
    text: str

    @property
    def words(self) -> list[str]:
        """Its words, options left out."""
        return [word for word in shlex.split(self.text) if not word.startswith("--")]

    @property
    def exec_form(self) -> list[str]:
        """The words of an instruction in exec form: a JSON list."""
        words: list[str] = re.findall(r'"((?:[^"\\]|\\.)*)"', self.text)
        return words


def steps() -> list[Step]:
    """The instructions, continued lines joined."""
    text = (ROOT / "Dockerfile").read_text().replace("\\\n", " ")
    lines = [line.strip() for line in text.splitlines() if line.strip() and not line.startswith("#")]
    return [Step(*line.split(maxsplit=1)) for line in lines]


def of(name: str) -> list[Step]:
    """All instructions of one name."""
    return [step for step in steps() if step.name == name]


def test_everything_that_is_copied_exists_and_is_let_through() -> None:
    """COPY names only what is there, and .dockerignore, which keeps everything out, lets exactly that in."""
    copied = [word for step in of("COPY") if "--from" not in step.text for word in step.words[:-1]]
    let_in = [line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")]

    assert [name for name in copied if not (ROOT / name).exists()] == []
    assert sorted(copied) == sorted(let_in)


def test_it_runs_as_a_number_and_in_exec_form() -> None:
    """Kubernetes sees that it is not root; signals reach the gateway and not a shell; the stages are of one family."""
    assert [step.text for step in of("USER")] == ["65532:65532"]
    assert [step.exec_form for step in of("ENTRYPOINT")] == [["sagemaker-gateway"]]
    assert of("CMD")[-1].exec_form[:2] == ["serve", "--config"]
    assert len({step.words[0] for step in of("FROM")}) == 1
    assert of("HEALTHCHECK")[0].text.count('"') >= 6


def test_the_image_can_be_built_and_answers(tmp_path: Path) -> None:
    """Its RUN commands work in a fresh virtual environment, from the lock file alone; then its entry point answers."""
    source, prefix = tmp_path / "src", tmp_path / "opt"
    source.mkdir()
    for step in steps():
        if step.name == "COPY" and "--from" not in step.text:
            subprocess.run(["cp", "-r", *(str(ROOT / word) for word in step.words[:-1]), str(source)], check=True)
        elif step.name == "RUN":
            command = step.text.replace(PREFIX, str(prefix)).replace("python -m venv", f"{sys.executable} -m venv")
            done = subprocess.run(
                command, shell=True, cwd=source, capture_output=True, text=True, check=False, timeout=600
            )
            assert done.returncode == 0, done.stderr

    environment = {"PATH": f"{prefix}/bin:{os.environ['PATH']}", "PYTHONDONTWRITEBYTECODE": "1", "HOME": "/nonexistent"}
    version = subprocess.run(
        ["sagemaker-gateway", "--version"], env=environment, capture_output=True, text=True, check=False
    )
    empty = subprocess.run(
        [*of("ENTRYPOINT")[0].exec_form, *of("CMD")[-1].exec_form],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    typed = list(prefix.rglob("site-packages/gateway/py.typed"))

    assert version.stdout.strip() == f"sagemaker-gateway, version {__version__}"
    assert (empty.returncode, "Traceback" in empty.stderr) == (2, False)
    assert "/etc/sagemaker-gateway/config.yaml" in empty.stderr
    assert len(typed) == 1


def test_locks_hold_what_is_declared() -> None:
    """Every dependency of setup.cfg is pinned with hashes in the lock files, and both agree."""
    setup = configparser.ConfigParser()
    setup.read(ROOT / "setup.cfg")
    declared = _names(setup["options"]["install_requires"])
    tests = _names(setup["options.extras_require"]["test"])
    lock, test_lock = (_pins(ROOT / name) for name in ("requirements.lock", "requirements-test.lock"))

    assert declared - set(lock) == set()
    assert (declared | tests) - set(test_lock) == set()
    assert lock.items() <= test_lock.items()


def _names(requirements: str) -> set[str]:
    lines = [line.strip() for line in requirements.splitlines()]
    return {re.split(r"[\[<>=;]", line)[0].strip().lower() for line in lines if line and not line.startswith("#")}


def _pins(path: Path) -> dict[str, str]:
    return dict(re.findall(r"^([a-z0-9.-]+)(?:\[[a-z,-]+\])?==(\S+)", path.read_text(), flags=re.MULTILINE))


def test_no_lock_names_a_host() -> None:
    """A lock file says what, not from where."""
    texts = [(ROOT / name).read_text() for name in ("requirements.lock", "requirements-test.lock")]

    assert [text for text in texts if "://" in text] == []


def test_every_dependency_says_why() -> None:
    """In setup.cfg each requirement stands below a comment that gives its reason."""
    text = (ROOT / "setup.cfg").read_text()
    block = text.partition("install_requires =\n")[2].partition("\n\n")[0].splitlines()
    bare = [
        line
        for before, line in zip(["", *block], block, strict=False)
        if not line.strip().startswith("#") and not before.strip().startswith("#")
    ]

    assert bare == []


@pytest.mark.parametrize("document", ["README.md", "CONTRIBUTING.md", ".ci/run"])
def test_every_make_command_exists(document: str) -> None:
    """What a document tells to make, the Makefile can make."""
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), flags=re.MULTILINE))
    named = set(re.findall(r"^make ([a-z]+)|`make ([a-z]+)", (ROOT / document).read_text(), flags=re.MULTILINE))

    assert {word for pair in named for word in pair if word} <= targets


def test_the_version_has_its_place_in_the_changelog() -> None:
    """The version of the package is the one that the changelog is about to release, or has released."""
    text = (ROOT / "CHANGELOG.md").read_text()

    assert "## [Unreleased]" in text or f"## [{__version__}]" in text
