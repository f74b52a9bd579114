"""From a keys file to who may call, or to all of its mistakes at once, none of which shows a secret."""

import os
import re
import stat
from collections.abc import Collection, Iterator, Mapping
from dataclasses import replace
from pathlib import Path as FilePath
from typing import Annotated, Literal, Self

from pydantic import Field, ValidationError, model_validator
from pydantic_core import PydanticCustomError

from gateway.config.file import conflicting, printable, read_text, translated
from gateway.config.problems import ConfigError, Path, Problem, dotted, nearest, shown
from gateway.config.rules import Conflict
from gateway.config.schema import Reference
from gateway.config.settings import CONFLICT, Settings
from gateway.config.values import Name, in_words
from gateway.config.yaml_tree import parse

ALL = "all"
_PAIR = ("access_key_id", "secret_access_key")
_SAFE = frozenset(
    {
        *("nothing", "no key", "a mapping", "an empty mapping", "a list", "an empty list"),
        *("an empty file", "a second document", "a key that is not text", "a merge key", "the same key again"),
        *("it alone", "it beside key_sha256"),
    }
)
"""What a message may say that it found. All else could be a secret in the wrong place."""
_OURS = re.compile(
    r"keys(\[\d+\](\.(name|key_sha256|access_key_id|secret_access_key|routes)(?=\[|$)(\[\d+\])?)?)?(?=[.\[]|$)"
)
"""As much of a setting's path as consists of words of ours."""
_NAMES = re.compile(r"keys\[\d+\]\.(name|routes)(\[\d+\])?")
"""Settings that hold names, which are not secret."""


class Key(Settings):
    """One key, whose it is, and what it may be used for: either an API key, or a key pair that signs as AWS does."""

    name: Name = Field(description="Whose key it is, for the log. A caller may have several, as while one is replaced.")
    key_sha256: (
        Annotated[
            str,
            Field(
                pattern=r"^[0-9A-Fa-f]{64}$",
                json_schema_extra=in_words("the SHA-256 of a key, in 64 hexadecimal digits"),
            ),
        ]
        | None
    ) = Field(None, repr=False, description="SHA-256 of the key that comes as `Authorization: Bearer` or `x-api-key`.")
    access_key_id: (
        Annotated[
            str,
            Field(
                pattern=r"^[A-Za-z0-9_]{16,128}$",
                json_schema_extra=in_words("16 to 128 letters, digits or underscores"),
            ),
        ]
        | None
    ) = Field(None, repr=False, description="Id of a key pair that AWS SDKs sign with. It need not be one of AWS's.")
    secret_access_key: (
        Annotated[
            str,
            Field(pattern=r"^[!-~]{32,128}$", json_schema_extra=in_words("32 to 128 printable characters of ASCII")),
        ]
        | None
    ) = Field(None, repr=False, description="The pair's secret: signatures cannot be checked without it.")
    routes: Literal["all"] | Annotated[tuple[str, ...], Field(strict=False)] = Field(
        description="Names of the routes and endpoints that it may call, or `all`."
    )

    def opens(self, route: str) -> bool:
        """Whether it may be used for a route, or for an endpoint called directly."""
        return self.routes == ALL or route in self.routes


class Keys(Settings):
    """All of a keys file."""

    keys: tuple[Key, ...] = Field(strict=False, description="The keys. With none of them, nobody may call.")

    @model_validator(mode="after")
    def _agree(self) -> Self:
        if found := tuple(_conflicts(self.model_dump())):
            raise PydanticCustomError(CONFLICT, "{conflicts}", {"conflicts": "; ".join(map(str, found))})
        return self


def load_keys(path: str | os.PathLike[str], names: Collection[str]) -> Keys:
    """Read a keys file.

    Args:
        path: where it is.
        names: of the routes and endpoints that there are.

    Raises:
        ConfigError: the file cannot be read, has mistakes, or is open to strangers; `problems` holds all of them.
    """
    tree = parse(read_text(path), "a mapping with keys")
    keys: Keys | None = None
    problems = list(tree.problems)
    if tree.value is not None or () not in tree.refused:
        try:
            keys = Keys.model_validate(tree.value)
        except ValidationError as error:
            problems += translated(tree, error, Reference(Keys.model_json_schema()))
        told = {problem.key for problem in problems}
        spoilt = {path[:2] for path in tree.refused}  # entries that lack what could not even be read
        found = [each for each in _conflicts(tree.value) if each.path[:2] not in spoilt]
        found += _dangling(tree.value, names)
        problems += [problem for problem in conflicting(tree, found) if problem.key not in told]
    problems.sort(key=lambda problem: (problem.line, problem.column))
    problems = [*_public(FilePath(path), tree.value), *map(_discreet, problems)]
    if keys is None or problems:
        raise ConfigError(printable(path), tuple(problems))
    return keys


def _entries(tree: object) -> Iterator[tuple[int, Mapping[str, object]]]:
    entries = tree.get("keys") if isinstance(tree, Mapping) else None
    for index, entry in enumerate(entries if isinstance(entries, list | tuple) else ()):
        if isinstance(entry, Mapping):
            yield index, entry


def _conflicts(tree: object) -> Iterator[Conflict]:
    """Entries that are neither one kind of key nor the other, and keys that stand there twice."""
    owners: dict[tuple[str, str], Path] = {}
    for index, entry in _entries(tree):
        here: Path = ("keys", index)
        digest, pair = entry.get("key_sha256"), [name for name in _PAIR if entry.get(name) is not None]
        if digest is not None and pair:
            yield Conflict((*here, pair[0]), "it beside key_sha256", "an entry of its own")
        elif len(pair) == 1:
            (other,) = set(_PAIR) - set(pair)
            yield Conflict((*here, pair[0]), "it alone", f"{other} beside it")
        elif digest is None and not pair:
            yield Conflict(here, "no key", "key_sha256, or access_key_id and secret_access_key")
        for field, value in (("key_sha256", digest), ("access_key_id", entry.get("access_key_id"))):
            if isinstance(value, str):
                owner = owners.setdefault((field, value.lower() if field == "key_sha256" else value), (*here, field))
                if owner != (*here, field):
                    yield Conflict((*here, field), "the same key again", "every key once", f"{dotted(owner)} is it")


def _dangling(tree: object, names: Collection[str]) -> Iterator[Conflict]:
    for index, entry in _entries(tree):
        routes = entry.get("routes")
        for place, route in enumerate(routes if isinstance(routes, list | tuple) else ()):
            if isinstance(route, str) and route not in names:
                near = nearest(route, names)
                hint = f"the nearest is {shown(near)}" if near else ""
                wanted = "a key of routes or endpoints in the config"
                yield Conflict(("keys", index, "routes", place), shown(route), wanted, hint)


def _discreet(problem: Problem) -> Problem:
    """The same problem without a word of the file that could be a secret, such as a key where its digest should be."""
    key, found = problem.key, problem.found
    if not (found in _SAFE or _NAMES.fullmatch(key)):
        found = "an unknown key" if found.startswith("unknown key") else "something else"
    ours = _OURS.match(key)
    return replace(problem, key=ours[0] if ours else "", found=found)


def _public(path: FilePath, tree: object) -> Iterator[Problem]:
    """What is wrong with a file that strangers on this machine may write, or read while it holds secrets."""
    if os.name != "posix":
        return
    try:
        mode = stat.S_IMODE(path.stat().st_mode)
    except OSError as error:  # it was there a moment ago
        yield Problem(0, 0, "", f"the file cannot be read: {error.strerror or 'unknown reason'}")
        return
    secret = any(entry.get("secret_access_key") is not None for _, entry in _entries(tree))
    if mode & stat.S_IWOTH:
        yield Problem(0, 0, "", f"everybody may write the file (mode {mode:o})", "", "take that away: chmod o-w")
    elif secret and mode & stat.S_IROTH:
        hint = "take that away: chmod o-r, or defaultMode: 0440 in Kubernetes"
        yield Problem(0, 0, "", f"everybody may read the file (mode {mode:o}), and it holds secrets", "", hint)
