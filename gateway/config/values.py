"""The forms that the values of settings may take."""

import re
from pathlib import Path
from typing import Annotated
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field, JsonValue, ValidationInfo
from pydantic_core import PydanticCustomError

SAGEMAKER_NAME = r"^[a-zA-Z0-9](-*[a-zA-Z0-9])*$"
"""What SageMaker takes as an endpoint's name, anchored.

https://docs.aws.amazon.com/sagemaker/latest/APIReference/API_runtime_InvokeEndpoint.html
"""

MAX_NAME = 63
"""Its greatest length."""


def in_words(wanted: str) -> dict[str, JsonValue]:
    """What a pattern asks for, in words; editors show it, and so do our own messages."""
    return {"patternErrorMessage": wanted}


def is_name(text: str) -> bool:
    """Whether a text is a `Name`."""
    return len(text) <= MAX_NAME and re.fullmatch(SAGEMAKER_NAME, text) is not None


def _check_host(url: str) -> str:
    """Refuse an address that has the looks of a URL and still leads nowhere."""
    try:
        parts = urlsplit(url)
        usable = bool(parts.hostname) and parts.port != 0
    except ValueError:
        usable = False
    if not usable:
        raise PydanticCustomError("url", "not a usable host and port")
    return url


def _beside(path: str, info: ValidationInfo) -> str:
    """The path as the file means it that it stands in: `folder` in pydantic's context is where that is."""
    folder: Path | None = (info.context or {}).get("folder")
    return path if folder is None else str(folder / path)


File = Annotated[str, Field(min_length=1, max_length=4096), AfterValidator(_beside)]
"""A path of a file, relative to the file that it stands in."""
Host = Annotated[
    str,
    Field(
        pattern=r"^[A-Za-z0-9_.:%-]+$",
        json_schema_extra=in_words("an IP address or host name, without scheme and port"),
    ),
]
Name = Annotated[
    str,
    Field(
        max_length=MAX_NAME,
        pattern=SAGEMAKER_NAME,
        json_schema_extra=in_words("a name of at most 63 letters, digits and hyphens, without a hyphen at either end"),
    ),
]
RoleArn = Annotated[
    str,
    Field(
        max_length=2048,
        pattern=r"^arn:aws[a-z-]*:iam::[0-9]{12}:role/[!-~]+$",
        json_schema_extra=in_words("the ARN of an IAM role such as arn:aws:iam::123456789012:role/invoker"),
    ),
]
Url = Annotated[
    str,
    Field(
        pattern=r"^https?://[^/?#\s@]+$",
        json_schema_extra=in_words("http:// or https://, a host and perhaps a port, with nothing after it"),
    ),
    AfterValidator(_check_host),
]
"""A scheme, a host and perhaps a port: SageMaker's API has no base path, and credentials never stand in the file."""
Region = Annotated[
    str,
    Field(
        pattern=r"^[a-z]{2,}(-[a-z]+)+-[0-9]+$",
        json_schema_extra=in_words("an AWS region such as ap-northeast-1"),
    ),
]
Seconds = Annotated[float, Field(gt=0, le=86_400, allow_inf_nan=False)]
RoutePath = Annotated[
    str,
    Field(
        max_length=1024,
        pattern=r"^(/[A-Za-z0-9_~-][A-Za-z0-9._~-]*)+$",
        json_schema_extra=in_words(
            "a path of at most 1024 characters such as /predict or /v1/classify: letters, digits and - . _ ~, "
            "no segment empty or beginning with a dot"
        ),
    ),
]
