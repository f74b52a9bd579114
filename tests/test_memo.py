"""Memo: the function is asked once, and what is kept is bounded."""

from gateway.memo import Memo


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
    memo = Memo(upper, 2)

    assert ([memo["a"], memo["a"], memo["b"], memo["a"]], upper.asked) == (["A", "A", "B", "A"], ["a", "b"])


def test_no_more_than_so_many_are_kept() -> None:
    """Whatever strangers ask for: it begins anew, and goes on to say what is right."""
    memo = Memo(Counted(), 2)

    assert [(memo[name], len(memo)) for name in "abcd"] == [("A", 1), ("B", 2), ("C", 1), ("D", 2)]


def test_what_is_not_worth_it_is_not_kept() -> None:
    """What a stranger made long is worked out each time."""
    upper = Counted()
    memo = Memo(upper, 2, keeps=lambda name, _: len(name) < 2)

    assert ([memo["ab"], memo["ab"], memo["a"]], upper.asked, list(memo)) == (
        ["AB", "AB", "A"],
        ["ab", "ab", "a"],
        ["a"],
    )
