"""Records: told in order, those of one turn together, and whatever hooks do."""

import asyncio
from collections.abc import Sequence
from dataclasses import replace

from gateway.models import Record
from gateway.records import Records
from tests.test_log import RECORD


class Hook:
    """Remembers what it was told.

    Args:
        fails_at: the record at which it fails.
    """

    def __init__(self, fails_at: str | None = None) -> None:
        self._fails_at = fails_at
        self.told: list[list[str]] = []

    def __call__(self, records: Sequence[Record]) -> None:
        """Take some."""
        names = [each.request_id for each in records]
        self.told.append(names)
        if self._fails_at in names:
            raise RuntimeError("a bug")


def record(name: str) -> Record:
    """One of the name."""
    return replace(RECORD, request_id=name)


def no_failure(message: str, error: Exception) -> None:
    """None is expected."""
    raise AssertionError(message) from error


async def test_those_of_one_turn_are_told_together() -> None:
    """Each hook is told of all of them in order, and only when the turn is over; the next one begins anew."""
    hooks = Hook(), Hook()
    records = Records(hooks, no_failure)
    records.add(record("1"))
    records.add(record("2"))
    at_once = [list(hook.told) for hook in hooks]
    await asyncio.sleep(0)
    records.add(record("3"))
    await asyncio.sleep(0)
    await asyncio.sleep(0)

    assert at_once == [[], []]
    assert [hook.told for hook in hooks] == [[["1", "2"], ["3"]]] * 2


async def test_a_hook_that_fails_costs_the_others_no_record() -> None:
    """It is reported, and told again in the next turn; the others are told of all."""
    hooks = Hook(fails_at="2"), Hook()
    reported: list[str] = []
    records = Records(hooks, lambda message, error: reported.append(f"{message}: {error}"))
    for name in ("1", "2"):
        records.add(record(name))
    await asyncio.sleep(0)
    records.add(record("3"))
    await asyncio.sleep(0)

    assert [hook.told for hook in hooks] == [[["1", "2"], ["3"]]] * 2
    assert reported == ["a hook failed: a bug"]


async def test_what_ends_while_hooks_are_told_is_told_too() -> None:
    """In the next turn."""
    told: list[str] = []

    def again(some: Sequence[Record]) -> None:
        told.extend(each.request_id for each in some)
        if told == ["1"]:
            records.add(record("2"))

    records = Records((again,), no_failure)
    records.add(record("1"))
    await asyncio.sleep(0)
    first = list(told)
    await asyncio.sleep(0)

    assert (first, told) == (["1"], ["1", "2"])
