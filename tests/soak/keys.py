"""Keys that a program of the AWS chain gives out, one after the other, and that SageMaker takes until they expire."""

import re
from pathlib import Path

PROFILE = "soak"
NUMBER = re.compile(r"Credential=KEY(\d+)/")

PROGRAM = """\
number=$(($(cat "$1") + 1))
echo "$number" > "$1"
echo '{"Version": 1, "AccessKeyId": "KEY'"$number"'", "SecretAccessKey": "secret", "SessionToken": "token",
       "Expiration": "2099-01-01T00:00:00Z"}'
"""
"""A `credential_process`: https://docs.aws.amazon.com/sdkref/latest/guide/feature-process-credentials.html"""


class Keys:
    """All keys of a soak.

    Args:
        directory: where the program and its files may be put.
    """

    def __init__(self, directory: Path) -> None:
        self._issued, program = directory / "issued", directory / "issue.sh"
        self._issued.write_text("0")
        program.write_text(PROGRAM)
        self.config = directory / "aws-config"
        """The AWS config file with the profile."""
        self.config.write_text(f"[profile {PROFILE}]\ncredential_process = sh {program} {self._issued}\n")
        self._seen = 0
        self._good = 1
        self.expiries = 0

    @property
    def issued(self) -> int:
        """How often the program has been asked."""
        return int(self._issued.read_text())

    def expire(self) -> None:
        """From now on all keys that were ever used are refused, if there are any that are not."""
        if self._good <= self._seen:
            self._good = self._seen + 1
            self.expiries += 1

    def refuse(self, authorization: str) -> bool:
        """Whether what was signed like this has to be refused."""
        number = NUMBER.search(authorization)
        if number is None:
            return False
        self._seen = max(self._seen, int(number[1]))
        return int(number[1]) < self._good
