"""What the schema says, to editors and to our own messages."""

from gateway.config import json_schema
from gateway.config.schema import DIALECT, Reference


def test_the_schema_is_of_the_dialect_it_names() -> None:
    """It begins with dialect, title and description, and has no address of its own."""
    schema = json_schema()

    assert list(schema)[:3] == ["$schema", "title", "description"]
    assert schema["$schema"] == DIALECT
    assert "$id" not in schema


def test_names_of_the_users_choice_are_bounded_in_editors_too() -> None:
    """A name that the gateway would refuse is refused by the schema."""
    for group in ("endpoints", "routes"):
        node = json_schema()["properties"][group]

        assert node["additionalProperties"] is False
        assert node["propertyNames"]["maxLength"] == 63


def test_demands_read_as_words() -> None:
    """Each kind of setting has its wording; what the schema does not know is text."""
    reference = Reference()

    assert reference.wanted(("listen", "port")) == "a whole number from 0 to 65535"
    assert reference.wanted(("drain", "timeout_seconds")) == "a number above 0 and at most 86400"
    assert reference.wanted(("endpoints", "any", "instances")) == 'a whole number from 1 to 10000 or "auto"'
    assert reference.wanted(("routes", "any", "targets", 7)) == "a mapping with endpoint"
    assert reference.wanted(("no", "such", "setting")) == "text"


def test_settings_know_their_homes() -> None:
    """A key is found wherever it belongs; names of the user's choice are no keys."""
    reference = Reference()

    assert reference.homes("max_waiting") == (("endpoints", "NAME", "queue", "max_waiting"),)
    assert len(reference.homes("timeout_seconds")) == 3
    assert reference.homes("NAME") == ()
