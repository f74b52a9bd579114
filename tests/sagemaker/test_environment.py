"""Keys of the environment: those that botocore would find there, or none of our own."""

import os
from collections.abc import Mapping
from unittest.mock import patch

from botocore.session import Session
from hypothesis import given
from hypothesis import strategies as st

from gateway.sagemaker.environment import keys_in

KEYS = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_SECURITY_TOKEN")
TEXT = st.sampled_from(["", "a", "b", " c "])


@given(st.dictionaries(st.sampled_from(KEYS), TEXT))
def test_whatever_is_found_there_is_what_botocore_finds(environment: Mapping[str, str]) -> None:
    """Any of the variables, empty ones and both names of the token included."""
    found = keys_in(environment)

    others = {name: value for name, value in os.environ.items() if name not in KEYS}
    if found is not None:
        with patch.dict(os.environ, {**others, **environment}, clear=True):
            credentials = Session().get_credentials().get_frozen_credentials()
        assert (found.access_key, found.secret_key, found.token) == tuple(credentials)[:3]
    assert (found is not None) == all(environment.get(name) for name in KEYS[:2])


@given(st.sampled_from(["AWS_PROFILE", "AWS_DEFAULT_PROFILE", "AWS_CREDENTIAL_EXPIRATION"]), TEXT)
def test_where_there_is_more_to_ask_the_whole_chain_is_asked(name: str, value: str) -> None:
    """A profile may be missing, and keys that expire have to be read again."""
    assert keys_in({"AWS_ACCESS_KEY_ID": "a", "AWS_SECRET_ACCESS_KEY": "b", name: value}) is None
