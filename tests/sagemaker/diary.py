"""A log that can be read, and what a source of credentials refuses."""

import io
import json
from typing import Any

import pytest

from gateway.errors import Refusal
from gateway.log import make_logger
from gateway.sagemaker.credentials import CredentialSource


class Diary:
    """A log that can be read."""

    def __init__(self) -> None:
        self._stream = io.StringIO()
        self.log = make_logger(style="json", stream=self._stream)

    @property
    def text(self) -> str:
        """All of it."""
        return self._stream.getvalue()

    def lines(self) -> list[dict[str, Any]]:
        """Each line, decoded."""
        return [json.loads(line) for line in self.text.splitlines()]

    def events(self) -> list[tuple[str, str]]:
        """Level and event of each line."""
        return [(line["level"], line["event"]) for line in self.lines()]


def refusal_of(source: CredentialSource) -> Refusal:
    """Why there is nothing to sign with."""
    with pytest.raises(Refusal) as caught:
        source.current()
    return caught.value
