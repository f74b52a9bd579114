"""What is wrong with a config, in the words of its reader: where, what was found, what was wanted."""

import difflib
import re
from collections.abc import Iterable
from dataclasses import dataclass

Path = tuple[str | int, ...]
"""The way to a setting from the top of the file: keys of mappings, and indexes of lists."""

WIDTH = 60
"""How many characters of a value are shown, at most."""


_PASSWORD = re.compile(r"//[^/@\s]*@")
"""What a URL may hold before its host. Messages end up in logs."""


@dataclass(frozen=True)
class Problem:
    """One mistake of a config file.

    Attributes:
        line: Line in the file, from 1; 0 where the file as a whole is meant.
        column: Column in that line, from 1; 0 where the file as a whole is meant.
        key: Dotted path of the setting, such as `endpoints.llama.instances`; empty at the top.
        found: What stands there, shortened, on one line.
        wanted: What should stand there; empty where `found` says it all.
        hint: What to do about it; may be empty.
    """

    line: int
    column: int
    key: str
    found: str
    wanted: str = ""
    hint: str = ""

    def __str__(self) -> str:
        """The problem in one line, without the file's name."""
        place = f"{self.line}:{self.column} " if self.line else ""
        key = f"{self.key}: " if self.key else ""
        found = f"found {self.found}, wanted {self.wanted}" if self.wanted else self.found
        hint = f"{';' if self.wanted else ','} {self.hint}" if self.hint else ""
        return f"{place}{key}{found}{hint}"


class ConfigError(Exception):
    """A config file that cannot be used; it carries all of its mistakes, in the order of the file."""

    def __init__(self, path: str, problems: tuple[Problem, ...]) -> None:
        super().__init__(path, problems)
        self.path = path
        self.problems = problems

    def __str__(self) -> str:
        """One line for each problem, beginning `FILE:LINE:COLUMN`."""
        return "\n".join(f"{self.path}:{'' if problem.line else ' '}{problem}" for problem in self.problems)


KEY_WIDTH = 63
"""Likewise of a key: a whole SageMaker name."""


def shorten(text: str, width: int = WIDTH) -> str:
    """`text` in at most `width` characters."""
    return text if len(text) <= width else text[: width - 1] + "…"


def shown(text: str) -> str:
    """Text as its author would recognise it: short, in quotes, on one line, nothing that moves a cursor."""
    return shorten(_PASSWORD.sub("//…@", repr(text)))


def dotted(path: Path) -> str:
    """The path of a setting as one word: `routes.classify.targets[0].endpoint`."""
    words = ""
    for step in path:
        if isinstance(step, int):
            words += f"[{step}]"
        else:
            plain = step.isprintable() and step.isascii() and step and not set(step) & set(" .:'\"[]")
            words += ("." if words else "") + (shorten(step, KEY_WIDTH) if plain else shown(step))
    return words


def nearest(name: str, names: Iterable[str]) -> str:
    """The one of `names` that was most likely meant by `name`; empty where none is near."""
    # difflib takes time in proportion to the product of both lengths, and the name is a stranger's.
    close = difflib.get_close_matches(name[:WIDTH], list(names), n=1, cutoff=0.5)
    return close[0] if close else ""
