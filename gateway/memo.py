"""What a function made of what it was asked before, found again by one look into a dictionary."""

from collections.abc import Callable
from typing import TypeVar

Key = TypeVar("Key")
Value = TypeVar("Value")


def _always(_key: object, _value: object) -> bool:
    return True


class _Memo(dict[Key, Value]):
    """A dictionary that fills itself."""

    def __init__(self, make: Callable[[Key], Value], most: int, keeps: Callable[[Key, Value], bool]) -> None:
        super().__init__()
        self._make = make
        self._most = most
        self._keeps = keeps

    def __missing__(self, key: Key) -> Value:
        value = self._make(key)
        if self._keeps(key, value):
            if len(self) >= self._most:
                self.clear()
            self[key] = value
        return value


def memo(
    make: Callable[[Key], Value], most: int, *, keeps: Callable[[Key, Value], bool] = _always
) -> Callable[[Key], Value]:
    """A function that answers as `make` does, and asks it only for what it does not know.

    `functools.lru_cache` does the same for many arguments and threads; here, on the path of every request, a look is
    half as long, and what a stranger may make long need not be kept.

    Args:
        make: a function of its argument alone.
        most: how much is kept; then it begins anew.
        keeps: whether something is kept at all.
    """
    # The dictionary's own method: by way of `memo[key]`, CPython calls it at five times the price.
    return _Memo(make, most, keeps).__getitem__
