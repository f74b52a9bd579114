"""What is different in the next config, and what of it can be had without a restart."""

from collections.abc import Iterator, Mapping
from typing import Any

from gateway.config.rules import Conflict, conflicts
from gateway.config.settings import Config

AT_ONCE_OF_LISTEN = ("listen.keys_file", "listen.open", "listen.tls.certificate", "listen.tls.key")
"""What a reload changes of a group that otherwise needs a restart, like `admin` and `log`."""

NAMED = ("endpoints", "routes")


def carried(old: Config, new: Config) -> Config:
    """The new config, but for the settings that only a restart changes: they are as in the old one."""
    taken: dict[str, Any] = {"keys_file": new.listen.keys_file, "open": new.listen.open}
    if _has_tls(old) and _has_tls(new):
        taken["tls"] = new.listen.tls
    return new.model_copy(update={"listen": old.listen.model_copy(update=taken), "admin": old.admin, "log": old.log})


def clashes(config: Config) -> tuple[Conflict, ...]:
    """What does not go together in a config that is made of two."""
    return conflicts(config.model_dump())


def changes(old: Config, new: Config) -> dict[str, list[str]]:
    """What is different, by kind: keys of endpoints and routes, and dotted names of other settings.

    Args:
        old: the config that holds now.
        new: the next one, as its file has it.
    """
    found: dict[str, list[str]] = {}
    for group in NAMED:
        before, after = getattr(old, group), getattr(new, group)
        found[f"{group}_added"] = [name for name in after if name not in before]
        found[f"{group}_changed"] = [name for name in after if name in before and before[name] != after[name]]
        found[f"{group}_removed"] = [name for name in before if name not in after]
    differing = list(_differing(old, new))
    found["settings_changed"] = [name for name in differing if not _needs_restart(name, old, new)]
    found["needs_restart"] = [name for name in differing if _needs_restart(name, old, new)]
    return {kind: names for kind, names in found.items() if names}


def _differing(old: Config, new: Config) -> Iterator[str]:
    before, after = (dict(_leaves(config.model_dump(exclude=set(NAMED)))) for config in (old, new))
    return (name for name, value in after.items() if before[name] != value)


def _leaves(tree: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for name, value in tree.items():
        if isinstance(value, Mapping):
            yield from _leaves(value, f"{prefix}{name}.")
        else:
            yield prefix + name, value


def _needs_restart(name: str, old: Config, new: Config) -> bool:
    if name.startswith("listen.tls.") and not (_has_tls(old) and _has_tls(new)):
        return True  # a listener speaks TLS or does not
    return name.startswith(("listen.", "admin.", "log.")) and name not in AT_ONCE_OF_LISTEN


def _has_tls(config: Config) -> bool:
    return config.listen.tls.certificate is not None
