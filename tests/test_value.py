"""Values: as cheap as can be, equal by their fields, and mypy keeps them as they are."""

from dataclasses import replace

from gateway.value import value


@value
class Pair:
    """A value."""

    first: int
    second: str = "b"


def test_they_are_equal_by_their_fields() -> None:
    """Whoever made them; and another is made of one by replacing a field."""
    assert Pair(1) == Pair(first=1, second="b") != Pair(2)
    assert replace(Pair(1), first=2) == Pair(2)
    assert repr(Pair(1)) == "Pair(first=1, second='b')"


def test_they_have_no_room_for_more() -> None:
    """Each request has some of them: a dictionary in each would be most of it."""
    assert not hasattr(Pair(1), "__dict__")


def test_mypy_keeps_them_as_they_are() -> None:
    """The checks find the assignment: were it allowed, they would say that nothing is to be ignored there."""
    pair = Pair(1)
    pair.first = 2  # type: ignore[misc]
    assert pair == Pair(2)  # for at run time nothing is looked after
