"""Classes of values, which nobody changes once they are made: mypy sees to that, at no cost to a request."""

from dataclasses import dataclass
from typing import TypeVar, dataclass_transform

T = TypeVar("T")


@dataclass_transform(frozen_default=True)
def value(cls: type[T]) -> type[T]:
    """Make a class of values from its fields.

    Each request has some of them. A frozen dataclass, which guards them at run time too, takes several times as long to
    make; and a field of a NamedTuple several times as long to read, since CPython looks for it anew each time.
    """
    return dataclass(slots=True)(cls)
