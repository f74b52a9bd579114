"""A good config, and what a way to spoil it looks like."""

from dataclasses import dataclass

GOOD = """\
listen: {host: 127.0.0.1, port: 8080}
aws:
  region: ap-northeast-1
endpoints:
  resnet:
    instances: 2
    queue:
      max_waiting: 10
routes:
  classify:
    path: /predict
    targets:
      - endpoint: resnet
        weight: 1
"""


@dataclass(frozen=True)
class Bad:
    """A way to spoil the good config.

    Attributes:
        name: What is wrong.
        old: A part of the good config; the whole of it where empty.
        new: What stands in its place.
        line: The line that has to be told; 0 where the file as a whole is meant.
        key: The key that has to be told.
        says: Words that have to be in the message.
    """

    name: str
    old: str
    new: str
    line: int
    key: str
    says: str

    @property
    def text(self) -> str:
        """The bad config."""
        if not self.old:
            return self.new
        assert GOOD.count(self.old) == 1
        return GOOD.replace(self.old, self.new)
