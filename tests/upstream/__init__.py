"""The rooms of the client pool, one by one; what they promise together is in `tests/test_upstream.py`."""
