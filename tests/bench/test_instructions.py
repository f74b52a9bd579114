"""Instructions per request are counted where valgrind is; else it is said what is missing."""

import shutil
from pathlib import Path

import pytest

from .instructions import ValgrindError, count


async def test_they_are_counted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Those of the requests, without those of the start, which are a thousand times as many."""
    if shutil.which("valgrind"):
        assert 10_000 < await count(tmp_path, requests=64) < 2_000_000
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(ValgrindError, match="valgrind is not installed"):
        await count(tmp_path, requests=1)
