"""Reads the emulator's settings from a YAML file, and reports all mistakes of the file in one go."""

from collections.abc import Iterable, Iterator
from difflib import get_close_matches
from pathlib import Path
from typing import Any, get_origin

import yaml
from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from gateway.emulator.errors import SettingsError
from gateway.emulator.settings import EmulatorSettings

SHOWN_CHARACTERS = 60


def load_settings(path: str | Path) -> EmulatorSettings:
    """The settings in a YAML file.

    Raises:
        SettingsError: The file cannot be read, is no YAML, or holds mistakes; the message lists all of them, each with
            its place, what was found, and what was wanted.
    """
    try:
        document = yaml.safe_load(Path(path).read_text(encoding="utf-8"))
    except OSError as error:
        raise SettingsError(f"cannot read the settings file {path}: {error.strerror}") from None
    except UnicodeDecodeError as error:
        raise SettingsError(f"{path} is not UTF-8 text: byte {error.start} cannot be decoded") from None
    except yaml.YAMLError as error:
        raise SettingsError(f"{path} is not YAML: {error}") from None
    if not isinstance(document, dict):
        found = "nothing" if document is None else _shown(document)
        raise SettingsError(f"{path} must hold a mapping with the key `endpoints`, found {found}")
    try:
        return EmulatorSettings.model_validate(document)
    except ValidationError as error:
        lines = [f"  {_mistake(details)}" for details in error.errors()]
        count = "a mistake" if len(lines) == 1 else f"{len(lines)} mistakes"
        raise SettingsError("\n".join([f"{path} has {count}:", *lines])) from None


def _mistake(details: ErrorDetails) -> str:
    """One mistake as `place: found ..., wanted ...`."""
    kind, location = details["type"], details["loc"]
    place = ".".join(str(part) for part in location if part != "[key]") or "the file"
    if kind == "missing":
        return f"{place}: missing, wanted {_wanted(details)}"
    if kind == "extra_forbidden":
        return f"{place}: unknown key, {_known(location)}"
    return f"{place}: found {_shown(details['input'])}, wanted {_wanted(details)}"


def _wanted(details: ErrorDetails) -> str:
    if details["type"] == "missing":
        return "a mapping of endpoint names to their settings"
    if details["type"] == "model_type":
        return "a mapping"
    message = details["msg"]
    for start in ("Value error, ", "Input should be ", "Input should "):
        message = message.removeprefix(start)
    return message


def _known(location: tuple[int | str, ...]) -> str:
    keys = list(_keys_at(location[:-1]))
    near = get_close_matches(str(location[-1]), keys, n=1)
    hint = f" (did you mean {near[0]}?)" if near else ""
    return f"wanted one of {', '.join(keys)}{hint}"


def _keys_at(location: Iterable[int | str]) -> Iterator[str]:
    """The keys that are valid at a place of the file."""
    model: type[BaseModel] = EmulatorSettings
    parts = iter(location)
    for part in parts:
        field = model.model_fields.get(str(part))
        if field is not None:
            model = _model_in(field.annotation) or model
            if get_origin(field.annotation) is dict:
                next(parts, None)  # a name that the user chose, and no key
    yield from model.model_fields


def _model_in(annotation: Any) -> type[BaseModel] | None:
    """The settings class within an annotation such as `X | None` or `tuple[X, ...]`."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    return next((found for part in getattr(annotation, "__args__", ()) if (found := _model_in(part))), None)


def _shown(value: object) -> str:
    text = repr(value)
    return f"{text[:SHOWN_CHARACTERS]}{'...' if len(text) > SHOWN_CHARACTERS else ''} ({type(value).__name__})"
