"""Memo: the function is asked once, and what is kept is bounded."""

from gateway.memo import memo


class Counted:
    """A function that counts how often it is asked."""

    def __init__(self) -> None:
        self.asked: list[str] = []

    def __call__(self, name: str) -> str:
        """The same in upper case."""
        self.asked.append(name)
        return name.upper()


def test_the_function_is_asked_once() -> None:
    """Every further look finds what it said."""
    upper = Counted()
    find = memo(upper, 2)

    assert ([find(name) for name in "aaba"], upper.asked) == (["A", "A", "B", "A"], ["a", "b"])


def test_no_more_than_so_many_are_kept() -> None:
    """Whatever strangers ask for: it begins anew, and goes on to say what is right."""
    upper = Counted()
    find = memo(upper, 2)

    assert [find(name) for name in "abcabcca"] == list("ABCABCCA")
    assert upper.asked == ["a", "b", "c", "a", "b", "c", "a"]  # each third one finds nothing kept


def test_what_is_not_worth_it_is_not_kept() -> None:
    """What a stranger made long is worked out each time, and takes nobody's place."""
    upper = Counted()
    find = memo(upper, 1, keeps=lambda name, _: len(name) < 2)

    assert [find(name) for name in ("a", "ab", "ab", "a")] == ["A", "AB", "AB", "A"]
    assert upper.asked == ["a", "ab", "ab"]
