"""The headers of each operation: what a caller may send, how it must look, and under which name it travels on.

Names and constraints: https://docs.aws.amazon.com/sagemaker/latest/APIReference/API_Operations_Amazon_SageMaker_Runtime.html.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Self

from multidict import CIMultiDictProxy

from gateway.emulator.refusals import RefusedError, invalid

PREFIX = "X-Amzn-SageMaker-"
CUSTOM_ATTRIBUTES = f"{PREFIX}Custom-Attributes"
INFERENCE_ID = f"{PREFIX}Inference-Id"
TARGET_VARIANT = f"{PREFIX}Target-Variant"
INFERENCE_COMPONENT = f"{PREFIX}Inference-Component"
SESSION_ID = f"{PREFIX}Session-Id"
NEW_SESSION_ID = f"{PREFIX}New-Session-Id"
CLOSED_SESSION_ID = f"{PREFIX}Closed-Session-Id"
VARIANT_HEADER = "x-Amzn-Invoked-Production-Variant"


@dataclass(frozen=True, slots=True)
class Form:
    """How a header's value must look, as a pattern and in words."""

    pattern: re.Pattern[str]
    words: str

    def check(self, name: str, value: str) -> str:
        """The value, if it has this form.

        Raises:
            RefusedError: It has not; nothing reaches a container.
        """
        if not self.pattern.fullmatch(value):
            raise RefusedError(invalid(f"1 validation error detected: the header {name} must be {self.words}"))
        return value


@dataclass(frozen=True, slots=True)
class Header:
    """One header of a request, and what the container gets it as."""

    name: str
    form: Form
    forwarded_as: str = ""

    @property
    def target(self) -> str:
        """Its name on the way to the container."""
        return self.forwarded_as or self.name


TEXT = Form(re.compile(r"[ -~]{0,1024}"), "at most 1024 visible US-ASCII characters")
TARGET_MODEL = Form(re.compile(r"[!-~][ -~]{0,1023}"), "1 to 1024 visible US-ASCII characters, the first no space")
ID = Form(re.compile(r"[!-~][ -~]{0,63}"), "1 to 64 visible US-ASCII characters, the first no space")
NAME = Form(re.compile(r"(?=.{1,63}\Z)[a-zA-Z0-9](-*[a-zA-Z0-9])*"), "a name of at most 63 letters, digits and hyphens")
SESSION = Form(
    re.compile(r"(?=.{1,256}\Z)(NEW_SESSION|[a-zA-Z0-9](-*[a-zA-Z0-9])*)"),
    "NEW_SESSION or at most 256 letters, digits and hyphens",
)
OLD_SESSION = Form(re.compile(r"(?=.{1,256}\Z)[a-zA-Z0-9](-*[a-zA-Z0-9])*"), "at most 256 letters, digits and hyphens")

SHARED = (Header(CUSTOM_ATTRIBUTES, TEXT), Header(INFERENCE_ID, ID))
TARGETED = (
    *SHARED,
    Header(TARGET_VARIANT, NAME),
    Header(f"{PREFIX}Target-Container-Hostname", NAME),
    Header(INFERENCE_COMPONENT, NAME),
    Header(f"{PREFIX}Prefix-Aware-Id", ID),
)
INVOKE = (
    *TARGETED,
    Header("Content-Type", TEXT),
    Header("Accept", TEXT),
    Header(f"{PREFIX}Target-Model", TARGET_MODEL),
    Header(f"{PREFIX}Enable-Explanations", ID),
    Header(SESSION_ID, SESSION),
)
"""What a container gets of InvokeEndpoint's headers; SageMaker strips all others."""

STREAM = (
    *TARGETED,
    Header("Content-Type", TEXT),
    Header(f"{PREFIX}Accept", TEXT, "Accept"),
    Header(SESSION_ID, OLD_SESSION),
)
"""The same of InvokeEndpointWithResponseStream, whose own `Accept` is about the event stream."""

ASYNC = (*SHARED, Header(f"{PREFIX}Content-Type", TEXT, "Content-Type"), Header(f"{PREFIX}Accept", TEXT, "Accept"))
"""The same of InvokeEndpointAsync, whose `Content-Type` and `Accept` have names of their own."""

LOCATION = Form(
    re.compile(r"(?=.{1,1024}\Z)(https|s3)://[^/]+/?.*"), "an https:// or s3:// URL of at most 1024 characters"
)
EXTENSION = Form(
    re.compile(r"(?!s3:|https:)[a-zA-Z0-9!_.*'()/-]{1,512}"), "1 to 512 characters of an S3 key, and no URL"
)
FILENAME = Form(re.compile(r"(?!.*\..*\.)[a-zA-Z0-9][a-zA-Z0-9_.-]{0,31}"), "1 to 32 characters with at most one dot")
DIGITS = Form(re.compile(r"[0-9]{1,9}"), "a whole number of seconds")

INVOKE_RETURNED = {
    "Content-Type": "Content-Type",
    CUSTOM_ATTRIBUTES: CUSTOM_ATTRIBUTES,
    NEW_SESSION_ID: NEW_SESSION_ID,
    CLOSED_SESSION_ID: CLOSED_SESSION_ID,
}
"""The headers of a container's answer that reach the caller, and as what."""

STREAM_RETURNED = {"Content-Type": f"{PREFIX}Content-Type", CUSTOM_ATTRIBUTES: CUSTOM_ATTRIBUTES}
"""The same for a stream, where `Content-Type` is that of the event stream."""


def forwarded(headers: CIMultiDictProxy[str], known: Iterable[Header]) -> dict[str, str]:
    """What the container is sent.

    Raises:
        RefusedError: A header has a form that the API does not allow.
    """
    return {
        header.target: header.form.check(header.name, value)
        for header in known
        if (value := headers.get(header.name)) is not None
    }


@dataclass(frozen=True, slots=True)
class AsyncOptions:
    """What InvokeEndpointAsync is asked for beside what the container gets; times in seconds."""

    input_location: str | None
    path_extension: str | None
    filename: str | None
    ttl_seconds: int
    timeout_seconds: int

    @classmethod
    def of(cls, headers: CIMultiDictProxy[str]) -> Self:
        """What the headers of a request say.

        Raises:
            RefusedError: One has a form or a value that the API does not allow.
        """
        return cls(
            input_location=_text(headers, "InputLocation", LOCATION),
            path_extension=_text(headers, "S3OutputPathExtension", EXTENSION),
            filename=_text(headers, "Filename", FILENAME),
            ttl_seconds=_seconds(headers, "RequestTTLSeconds", default=21_600, low=60, high=21_600),
            timeout_seconds=_seconds(headers, "InvocationTimeoutSeconds", default=900, low=1, high=3600),
        )


def _text(headers: CIMultiDictProxy[str], name: str, form: Form) -> str | None:
    value = headers.get(PREFIX + name)
    return None if value is None else form.check(PREFIX + name, value)


def _seconds(headers: CIMultiDictProxy[str], name: str, *, default: int, low: int, high: int) -> int:
    seconds = int(_text(headers, name, DIGITS) or default)
    if not low <= seconds <= high:
        raise RefusedError(
            invalid(f"1 validation error detected: the header {PREFIX}{name} must be between {low} and {high}")
        )
    return seconds


def returned(headers: CIMultiDictProxy[str], names: Mapping[str, str]) -> dict[str, str]:
    """What the caller gets of a container's headers."""
    return {target: value for name, target in names.items() if (value := headers.get(name)) is not None}
