"""From a YAML file to a `Config`, or to all of its mistakes at once."""

import os
from collections.abc import Iterable, Iterator
from pathlib import Path as FilePath

from pydantic import ValidationError

from gateway.config.problems import ConfigError, Path, Problem, dotted, nearest, shown
from gateway.config.rules import Conflict, conflicts
from gateway.config.schema import Reference
from gateway.config.settings import CONFLICT, Config
from gateway.config.yaml_tree import Place, Tree, parse

MAX_BYTES = 1_048_576
"""Longest config file: a mistaken path to a model or a device ends here instead of filling the memory."""


def load(path: str | os.PathLike[str]) -> Config:
    """Read a config file.

    Raises:
        ConfigError: the file cannot be read or has mistakes; `problems` holds all of them, in the file's order.
    """
    tree = parse(read_text(path))
    config, problems = _judge(tree, FilePath(path).parent)
    if config is None or problems:
        raise ConfigError(printable(path), tuple(problems))
    return config


def printable(path: str | os.PathLike[str]) -> str:
    """A file's name, which may hold bytes that no terminal can print."""
    return os.fspath(path).encode("utf-8", "backslashreplace").decode()


def read_text(path: str | os.PathLike[str]) -> str:
    """The text of a file that people write.

    Raises:
        ConfigError: it cannot be read, is too long, or is no text.
    """
    try:
        return _read(FilePath(path))
    except _Unreadable as error:
        raise ConfigError(printable(path), (error.problem,)) from None


class _Unreadable(Exception):  # noqa: N818 - it never leaves this module
    """The file is no text."""

    def __init__(self, problem: Problem) -> None:
        super().__init__(problem)
        self.problem = problem


def _read(path: FilePath) -> str:
    try:
        with path.open("rb") as file:
            content = file.read(MAX_BYTES + 1)
    except OSError as error:
        found = f"the file cannot be read: {error.strerror or 'unknown reason'}"
        raise _Unreadable(Problem(0, 0, "", found)) from None
    except ValueError:
        raise _Unreadable(Problem(0, 0, "", "the file cannot be read: its name holds a null byte")) from None
    if len(content) > MAX_BYTES:
        raise _Unreadable(Problem(0, 0, "", f"more than {MAX_BYTES} bytes", "a config file"))
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        before = content[: error.start]
        line, column = before.count(b"\n") + 1, error.start - (before.rfind(b"\n") + 1) + 1
        found = f"the byte 0x{content[error.start]:02x}"
        raise _Unreadable(Problem(line, column, "", found, "text in UTF-8")) from None


def _judge(tree: Tree, folder: FilePath) -> tuple[Config | None, list[Problem]]:
    """The config of a tree, or what is wrong with it."""
    config, problems = None, list(tree.problems)
    if tree.value is not None or () not in tree.refused:
        try:
            config = Config.model_validate(tree.value, context={"folder": folder})
        except ValidationError as error:
            problems += translated(tree, error, Reference())
        told = {problem.key for problem in problems}
        problems += [problem for problem in conflicting(tree, conflicts(tree.value)) if problem.key not in told]
    return config, sorted(problems, key=lambda problem: (problem.line, problem.column))


def conflicting(tree: Tree, found: Iterable[Conflict]) -> Iterator[Problem]:
    """Conflicts as problems, each with its place."""
    for conflict in found:
        place = tree.places[conflict.path]
        yield Problem(place.line, place.column, dotted(conflict.path), conflict.found, conflict.wanted, conflict.hint)


def translated(tree: Tree, error: ValidationError, reference: Reference) -> Iterator[Problem]:
    """Pydantic's errors in our words: one for each place, however many ways there were to be right."""
    told: set[tuple[Path, bool]] = set()
    errors = error.errors(include_url=False, include_context=False, include_input=False)
    for location, kind in ((each["loc"], each["type"]) for each in errors):
        path, is_name = _place_of(tree, location, kind)
        if kind == CONFLICT or (path, is_name) in told or path in tree.refused:
            continue
        # Pydantic does not count the entries that failed; they are told by themselves.
        if kind == "too_short" and not tree.places[path].text.startswith("an empty"):
            continue
        told.add((path, is_name))
        place = _nearest_place(tree, path)
        key = dotted(path)
        if kind == "extra_forbidden":
            hint = _meant(reference, path)
            yield Problem(place.line, place.column, key, f"unknown key {shown(str(path[-1]))}", hint=hint)
        elif is_name:
            yield Problem(place.line, place.column, key, shown(str(path[-1])), reference.wanted_name(path[:-1]))
        else:
            found = "nothing" if kind == "missing" else place.text
            yield Problem(place.line, place.column, key, found, reference.wanted(path))


def _place_of(tree: Tree, location: Path, kind: str) -> tuple[Path, bool]:
    """The path in the file that pydantic means, and whether it means the name there.

    Pydantic appends `[key]` where it speaks of a name, and the member of a union, such as `constrained-int`.
    """
    if kind == "missing" or location in tree.places:
        return location, False
    is_name = location[-1:] == ("[key]",)
    while location not in tree.places:
        location = location[:-1]
    return location, is_name


def _nearest_place(tree: Tree, path: Path) -> Place:
    """The place of a setting; of the group that lacks it, where it is missing."""
    while path not in tree.places:
        path = path[:-1]
    return tree.places[path]


def _meant(reference: Reference, path: Path) -> str:
    """What the author of an unknown key may have meant."""
    group, key = path[:-1], str(path[-1])
    keys = reference.keys(group)
    if homes := reference.homes(key):
        return f"it belongs to {' or '.join(dotted(home[:-1]) or 'the top level' for home in homes)}"
    if near := nearest(key, keys):
        return f"nearest valid key is {shown(near)}"
    return f"valid keys are {', '.join(keys)}"
