"""Keeps the AWS settings, the proxies and the gateway settings of whoever runs the demo out of it."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

REGION = "ap-northeast-1"
ACCESS_KEY_ID = "AKIADEMO"
SECRET_ACCESS_KEY = "demo-secret"  # noqa: S105 (the emulator's own, good for nothing else)

FOREIGN_PREFIXES = ("AWS_", "SAGEMAKER_GATEWAY_")
PROXIES = ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY")


@contextmanager
def secluded(home: Path) -> Iterator[None]:
    """An environment, for this process and those it starts, that knows the emulator's keys and nothing of the user's.

    Args:
        home: An empty directory: no AWS files are found there.
    """
    before = dict(os.environ)
    for name in before:
        if name.upper().startswith(FOREIGN_PREFIXES) or name.upper() in PROXIES:
            del os.environ[name]
    os.environ.update(
        AWS_ACCESS_KEY_ID=ACCESS_KEY_ID,
        AWS_SECRET_ACCESS_KEY=SECRET_ACCESS_KEY,
        AWS_CONFIG_FILE=str(home / "no-aws-config"),
        AWS_SHARED_CREDENTIALS_FILE=str(home / "no-aws-credentials"),
        AWS_EC2_METADATA_DISABLED="true",
    )
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)
