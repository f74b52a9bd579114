"""The settings as a JSON Schema, and what the schema says of one place in a file."""

from collections.abc import Iterator
from typing import Any

from gateway.config.problems import Path
from gateway.config.settings import Config

DIALECT = "https://json-schema.org/draft/2020-12/schema"
ANY_NAME = "NAME"
"""Stands for a name of the user's choice in the path of a setting."""

Schema = dict[str, Any]


def json_schema() -> Schema:
    """The JSON Schema of a config file, for editors and other tools."""
    described = Config.model_json_schema()
    head = {"$schema": DIALECT, "title": described.pop("title"), "description": described.pop("description")}
    return {**head, **described}


class Reference:
    """Answers questions on the settings: which there are, and what belongs where.

    Args:
        root: the JSON Schema of a file; that of the config by default.
    """

    def __init__(self, root: Schema | None = None) -> None:
        self._root = root or json_schema()

    def settings(self) -> dict[Path, Schema]:
        """The schema of every setting, groups included, by path; `ANY_NAME` and index 0 stand for the user's own."""
        return dict(self._below((), self._root))

    def keys(self, path: Path) -> tuple[str, ...]:
        """The keys that the mapping at `path` may have; none where they are the user's choice."""
        return tuple(self._at(path).get("properties", ()))

    def wanted(self, path: Path) -> str:
        """What should stand at `path`, in words."""
        return self._in_words(self._at(path))

    def wanted_name(self, path: Path) -> str:
        """What a key in the mapping at `path` should be, where it is the user's choice, in words."""
        return str(self._at(path).get("propertyNames", {}).get("patternErrorMessage", "text"))

    def homes(self, key: str) -> tuple[Path, ...]:
        """Where settings called `key` belong."""
        return tuple(path for path in self.settings() if path[-1] == key != ANY_NAME)

    def _resolve(self, node: Schema) -> Schema:
        """The schema itself where `node` only refers to one."""
        reference = node.get("$ref")
        return node if reference is None else self._root["$defs"][reference.rpartition("/")[2]] | _own_words(node)

    def _at(self, path: Path) -> Schema:
        node = self._root
        for step in path:
            if isinstance(step, int):
                node = node.get("items", {})
            elif "patternProperties" in node:
                (node,) = node["patternProperties"].values()
            else:
                node = node.get("properties", {}).get(step, {})
            node = self._resolve(node)
        return node

    def _below(self, path: Path, node: Schema) -> Iterator[tuple[Path, Schema]]:
        children: list[tuple[str | int, Schema]] = list(node.get("properties", {}).items())
        children += [(ANY_NAME, child) for child in node.get("patternProperties", {}).values()]
        children += [(0, node["items"])] if "items" in node else []
        for step, child in children:
            resolved = self._resolve(child)
            yield (*path, step), resolved
            yield from self._below((*path, step), resolved)

    def _in_words(self, node: Schema) -> str:
        """The one place where the demands of a schema become words."""
        text = "text"
        match node:
            case {"anyOf": choices}:
                words = [self._in_words(choice) for choice in choices if choice.get("type") != "null"]
                # The exception reads best after the rule: a whole number, or "auto".
                text = " or ".join(sorted(words, key=lambda choice: choice.startswith('"')))
            case {"patternErrorMessage": str(wanted)}:
                text = wanted
            case {"enum": choices}:
                text = " or ".join(f'"{choice}"' for choice in choices)
            case {"const": choice}:
                text = f'"{choice}"'
            case {"type": "boolean"}:
                text = "true or false"
            case {"type": "integer"}:
                text = f"a whole number{_bounds(node)}"
            case {"type": "number"}:
                text = f"a number{_bounds(node)}"
            case {"type": "array"}:
                text = "a list" + _entries(node, "minItems")
            case {"type": "object"}:
                required = " and ".join(node.get("required", ()))
                text = "a mapping" + (f" with {required}" if required else _entries(node, "minProperties"))
        return text


def _own_words(node: Schema) -> Schema:
    return {key: value for key, value in node.items() if key in {"description", "default"}}


def _entries(node: Schema, bound: str) -> str:
    return " with at least one entry" if node.get(bound) else ""


def _bounds(node: Schema) -> str:
    if "exclusiveMinimum" in node:
        return f" above {node['exclusiveMinimum']} and at most {node['maximum']}"
    return f" from {node['minimum']} to {node['maximum']}"
