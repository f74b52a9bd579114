"""Records: told in order, those of some milliseconds together, and whatever hooks do."""

from collections.abc import Sequence
from dataclasses import replace

import pytest

from gateway.models import Record
from gateway.records import LATER_SECONDS, MOST, Records
from tests.doubles import LoopTime
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


@pytest.fixture
async def loop_time(monkeypatch: pytest.MonkeyPatch) -> LoopTime:
    """The loop's time, in the test's hands."""
    return LoopTime(monkeypatch)


async def test_those_of_some_milliseconds_are_told_together(loop_time: LoopTime) -> None:
    """Each hook is told of all of them in order, once the first has waited; the next one begins anew."""
    hooks = Hook(), Hook()
    records = Records(hooks, no_failure)
    records.add(record("1"))
    await loop_time.pass_by(LATER_SECONDS * 0.9)
    records.add(record("2"))
    await loop_time.settle()
    before = [list(hook.told) for hook in hooks]
    await loop_time.pass_by(LATER_SECONDS * 0.2)
    records.add(record("3"))
    await loop_time.pass_by(LATER_SECONDS * 0.9)
    between = [list(hook.told) for hook in hooks]
    await loop_time.pass_by(LATER_SECONDS * 0.2)

    assert before == [[], []]
    assert between == [[["1", "2"]]] * 2
    assert [hook.told for hook in hooks] == [[["1", "2"], ["3"]]] * 2


async def test_they_are_told_now_to_whoever_looks(loop_time: LoopTime) -> None:
    """Each once, and nothing where there is nothing to tell."""
    hooks = Hook(), Hook()
    records = Records(hooks, no_failure)
    records.tell()
    records.add(record("1"))
    records.tell()
    records.tell()
    at_once = [list(hook.told) for hook in hooks]
    records.add(record("2"))
    await loop_time.pass_by(LATER_SECONDS)

    assert at_once == [[["1"]]] * 2
    assert [hook.told for hook in hooks] == [[["1"], ["2"]]] * 2


async def test_a_crowd_is_told_in_parts(loop_time: LoopTime) -> None:
    """No more wait than a pipe has room for."""
    hook = Hook()
    records = Records((hook,), no_failure)
    names = [str(number) for number in range(2 * MOST + 1)]
    for name in names:
        records.add(record(name))
    at_once = list(hook.told)
    await loop_time.pass_by(LATER_SECONDS)

    assert at_once == [names[:MOST], names[MOST:-1]]
    assert hook.told[2:] == [names[-1:]]


async def test_nothing_waits_once_it_is_closed(loop_time: LoopTime) -> None:
    """Each is told at once from there on: the loop may end with it."""
    hook = Hook()
    records = Records((hook,), no_failure)
    records.add(record("1"))
    records.close()
    for name in ("2", "3"):
        records.add(record(name))
    at_once = list(hook.told)
    await loop_time.pass_by(LATER_SECONDS)

    assert at_once == hook.told == [["1"], ["2"], ["3"]]


async def test_a_hook_that_fails_costs_the_others_no_record() -> None:
    """It is reported, and told the next time as well; the others are told of all."""
    hooks = Hook(fails_at="2"), Hook()
    reported: list[str] = []
    records = Records(hooks, lambda message, error: reported.append(f"{message}: {error}"))
    for name in ("1", "2"):
        records.add(record(name))
    records.tell()
    records.add(record("3"))
    records.tell()

    assert [hook.told for hook in hooks] == [[["1", "2"], ["3"]]] * 2
    assert reported == ["a hook failed: a bug"]


async def test_what_ends_while_hooks_are_told_is_told_too(loop_time: LoopTime) -> None:
    """The next time."""
    hook = Hook()

    def again(some: Sequence[Record]) -> None:
        if [each.request_id for each in some] == ["1"]:
            records.add(record("2"))

    records = Records((again, hook), no_failure)
    records.add(record("1"))
    records.tell()
    first = list(hook.told)
    await loop_time.pass_by(LATER_SECONDS)

    assert (first, hook.told) == ([["1"]], [["1"], ["2"]])
