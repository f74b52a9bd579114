"""YAML as plain data that remembers where in the file each value stands."""

import math
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import yaml
from yaml.composer import Composer
from yaml.resolver import Resolver

from gateway.config.problems import Path, Problem, dotted, shorten, shown

try:
    from yaml import CSafeLoader as Quick
except ImportError:  # PyYAML was built without libyaml
    from yaml import SafeLoader as Quick  # type: ignore[assignment]

MAX_DEPTH = 16
"""No setting lies this deep; the bound keeps a hostile file from exhausting the stack."""
MAX_DIGITS = 40
"""No setting is this large; Python takes quadratic time for long numbers and refuses the longest."""

_TAG = "tag:yaml.org,2002:"
_CORE_SCHEMA = (
    ("null", re.compile(r"~|null|Null|NULL|")),
    ("bool", re.compile(r"true|True|TRUE|false|False|FALSE")),
    ("int", re.compile(r"[-+]?(0|[1-9][0-9]*)")),
    ("float", re.compile(r"[-+]?(\.[0-9]+|(0|[1-9][0-9]*)(\.[0-9]*)?)([eE][-+]?[0-9]+)?")),
    ("float", re.compile(r"[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)")),
)
_ALIAS = "alias"
_READ_DIFFERENTLY = re.compile(r"[^\n -~\u00a0-\u2027\u202a-\ud7ff]|[!%>?|]|---|\.\.\.")
"""Where PyYAML's own parser and libyaml may not agree: on tabs, other line breaks, tags, block scalars, documents."""

Spot = tuple[int, int]
"""A line and a column, both from 1."""


@dataclass(frozen=True)
class Place:
    """Where a value stands, and how it was written.

    Attributes:
        line: Line of its key (or of itself, in a list), from 1.
        column: Column of the same, from 1.
        text: The value as it is shown to people.
    """

    line: int
    column: int
    text: str


@dataclass
class Tree:
    """A YAML document: its data, where each part stands, and what is wrong with it as YAML.

    Attributes:
        value: Mappings with text keys, lists, text, numbers, booleans and None.
        places: The place of every part, by its path from the top.
        problems: Mistakes that can be told without knowing any setting.
        refused: Paths of values that are among the problems, so that they are not judged twice.
    """

    value: Any = None
    places: dict[Path, Place] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)
    refused: set[Path] = field(default_factory=set)

    def refuse(self, path: Path, spot: Spot, found: str, wanted: str, hint: str = "") -> None:
        """Note a problem, and that `path` has had its judgement; what lies below it has not."""
        self.problems.append(Problem(*spot, dotted(path), found, wanted, hint))
        self.refused.add(path)


class _Nodes(Composer, Resolver):
    """YAML 1.2's core schema, so that `no`, `1:30` and `010` are not numbers or booleans; aliases become marks."""

    depth = 0

    def resolve(self, kind: Any, value: Any, implicit: Any) -> Any:
        """The tag of a part that carries none in the file."""
        if kind is not yaml.ScalarNode:
            untyped: Any = super()
            return untyped.resolve(kind, value, implicit)
        matching = (name for name, pattern in _CORE_SCHEMA if implicit[0] and pattern.fullmatch(value))
        return _TAG + next(matching, "str")

    def compose_node(self, parent: Any, index: Any) -> Any:
        """One part of the document, if it does not lie too deep; of an alias no more than its name."""
        events: Any = self  # whose methods for events have no types
        if events.check_event(yaml.AliasEvent):
            alias = events.get_event()
            return yaml.ScalarNode(_ALIAS, alias.anchor, alias.start_mark, alias.end_mark)
        if self.depth >= MAX_DEPTH:
            deep = f"nested more than {MAX_DEPTH} deep"
            raise yaml.composer.ComposerError(None, None, deep, events.peek_event().start_mark)
        self.depth += 1
        node = super().compose_node(parent, index)
        self.depth -= 1
        return node


class _Loader(_Nodes, yaml.SafeLoader):
    """Finds all mistakes, and tells them as PyYAML does."""


class _QuickLoader(_Nodes, Quick):
    """libyaml, in a third of the time."""

    def __init__(self, text: str) -> None:
        Quick.__init__(self, text)
        Composer.__init__(self)


def parse(text: str, wanted: str = "a mapping with aws and endpoints") -> Tree:
    """Read one YAML document. Never raises: what is wrong with it stands in the tree's `problems`.

    Args:
        text: the document.
        wanted: what an empty one lacks, in words.
    """
    return _well_formed(text) or _judged(text, wanted)


def _well_formed(text: str) -> Tree | None:
    """The document, if nothing is wrong with it and both parsers are known to read it alike."""
    if _READ_DIFFERENTLY.search(text):
        return None
    try:
        node = _QuickLoader(text).get_single_node()
    except (yaml.YAMLError, ValueError, OverflowError, LookupError):
        return None
    if node is None:
        return None
    tree = Tree()
    tree.value = _build(tree, (), node, _spot(node.start_mark))
    return None if tree.problems else tree


def _judged(text: str, wanted: str) -> Tree:
    """The document, or what is wrong with it."""
    tree = Tree()
    try:
        loader: Any = _Loader(text)
    except yaml.reader.ReaderError as error:
        _refuse_unprintable(tree, text, error)
        return tree
    try:
        node = loader.get_node() if loader.check_node() else None
        if loader.check_node():
            here = _spot(loader.peek_event().start_mark)
            tree.refuse((), here, "a second document", "one YAML document", "drop this `---`")
    except yaml.MarkedYAMLError as error:
        hint = "indent with spaces" if "'\\t'" in str(error.problem) else ""
        found = shorten(" ".join(str(error.problem).split()))
        tree.refuse((), _spot(error.problem_mark or error.context_mark), found, "YAML", hint)
    except (ValueError, OverflowError, LookupError):
        # PyYAML passes on what Python says to, for instance, "\\UFFFFFFFF".
        tree.refuse((), _spot(loader.get_mark()), "something that cannot be read", "YAML")
    else:
        if node is None:
            tree.refuse((), (1, 1), "an empty file", wanted)
        else:
            tree.value = _build(tree, (), node, _spot(node.start_mark))
    return tree


def _refuse_unprintable(tree: Tree, text: str, error: yaml.reader.ReaderError) -> None:
    before = text[: error.position]
    spot = before.count("\n") + 1, error.position - before.rfind("\n")
    tree.refuse((), spot, f"the character {shown(text[error.position])}", "printable text")


def _spot(mark: yaml.Mark | None) -> Spot:
    return (mark.line + 1, mark.column + 1) if mark else (1, 1)


def _build(tree: Tree, path: Path, node: yaml.Node, named: Spot) -> Any:
    """The data of `node`, which stands at `path` and whose key stands at `named`."""
    spot = _spot(node.start_mark)
    value: Any = None
    text = ""
    if isinstance(node, yaml.MappingNode) and node.tag == _TAG + "map":
        tree.places[path] = Place(*named, "a mapping" if node.value else "an empty mapping")
        return _mapping(tree, path, node)
    if isinstance(node, yaml.SequenceNode) and node.tag == _TAG + "seq":
        tree.places[path] = Place(*named, "a list" if node.value else "an empty list")
        return [_build(tree, (*path, index), item, _spot(item.start_mark)) for index, item in enumerate(node.value)]
    if node.tag == _ALIAS:
        alias = f"the alias *{shorten(node.value)}"
        tree.refuse(path, spot, alias, "the value itself", "aliases are not taken")
    elif isinstance(node, yaml.ScalarNode) and node.tag in _SCALARS:
        try:
            value = _SCALARS[node.tag](node.value)
        except ValueError:
            tree.refuse(path, spot, shown(node.value), f"what its tag {_short(node.tag)} says")
        text = "nothing" if value is None else shown(value) if isinstance(value, str) else shorten(node.value)
    else:
        tree.refuse(path, spot, f"the tag {_short(node.tag)}", "plain YAML", "leave the tag out")
    tree.places[path] = Place(*named, text)
    return value


def _mapping(tree: Tree, path: Path, node: yaml.MappingNode) -> dict[str, Any]:
    data: dict[str, Any] = {}
    for key_node, value_node in node.value:
        spot = _spot(key_node.start_mark)
        if not isinstance(key_node, yaml.ScalarNode) or key_node.tag not in _SCALARS:
            tree.refuse(path, spot, "a key that is not text", "text")
            continue
        key: str = key_node.value
        here = (*path, key)
        if key in data:
            tree.refuse(here, spot, "the same key again", "every key once", f"line {tree.places[here].line} has it")
            continue
        if key == "<<":
            tree.refuse(here, spot, "a merge key", "the settings themselves", "merge keys are not taken")
            continue
        if key_node.tag != _TAG + "str":
            found = f"the key {shorten(key)}" if key else "no key"
            tree.refuse(here, spot, found, "text", "put it in quotes" if key else "")
        data[key] = _build(tree, here, value_node, spot)
    return data


def _short(tag: str) -> str:
    # A tag may hold any character, percent-encoded.
    return shorten(repr(tag.replace(_TAG, "!!"))[1:-1])


def _truth(text: str) -> bool:
    if text.lower() not in {"true", "false"}:
        raise ValueError
    return text.lower() == "true"


def _integer(text: str) -> float:
    return math.inf if len(text) > MAX_DIGITS else int(text)


def _real(text: str) -> float:
    # YAML puts a dot before what Python calls inf and nan.
    return float(text.lower().replace(".inf", "inf").replace(".nan", "nan"))


_SCALARS: dict[str, Callable[[str], object]] = {
    _TAG + "str": str,
    _TAG + "null": lambda _text: None,
    _TAG + "bool": _truth,
    _TAG + "int": _integer,
    _TAG + "float": _real,
}
