"""The compiled gateway, built from the source as it is: `python -m tests.compiled.build DIR` leaves its wheel there."""

import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

ROOT = Path(__file__).parent.parent.parent
SOURCE = ("gateway", "setup.py", "setup.cfg", "pyproject.toml", "README.md")
BUILD_SECONDS = 900.0
"""It takes some 80 s of CPU."""


class BuildError(Exception):
    """It could not be built; the message says why."""


def has_compiler() -> bool:
    """Whether there is a C compiler: $CC, or cc."""
    return shutil.which(os.environ.get("CC", "cc").split()[0]) is not None


def make_wheel(place: Path) -> Path:
    """Build it, and say where its wheel is.

    It is made of a copy: extensions beside the source would be imported in its place, also when it has changed.

    Args:
        place: an empty directory.

    Raises:
        BuildError: there is no C compiler, or the source cannot be compiled.
    """
    if not has_compiler():
        raise BuildError("The compiled gateway cannot be built: no C compiler. Install one, or set CC.")
    source = place / "source"
    source.mkdir()
    subprocess.run(["cp", "-r", *(str(ROOT / name) for name in SOURCE), str(source)], check=True)
    command = [sys.executable, "-m", "pip", "wheel", "--disable-pip-version-check", "--no-deps", "--no-build-isolation"]
    built = subprocess.run(
        [*command, "--wheel-dir", str(place), str(source)],
        env=os.environ | {"SAGEMAKER_GATEWAY_COMPILE": "1"},
        capture_output=True,
        text=True,
        check=False,
        timeout=BUILD_SECONDS,
    )
    if built.returncode:
        raise BuildError(f"The compiled gateway was not built:\n{built.stdout[-4000:]}\n{built.stderr[-4000:]}")
    (wheel,) = place.glob("*.whl")
    return wheel


def unpack(place: Path) -> Path:
    """The same, unpacked: where `python -m gateway` is the compiled one."""
    package = place / "package"
    with zipfile.ZipFile(make_wheel(place)) as archive:
        archive.extractall(package)
    return package


if __name__ == "__main__":
    try:
        make_wheel(Path(sys.argv[1]))
    except BuildError as error:
        sys.exit(str(error))
