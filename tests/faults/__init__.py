"""The table of faults that the gateway survives, each row played against a far end or callers of our own.

`row` says what a row is, `table` lists them, `test_rows` has each hold, and `python -m tests.faults` prints what was
measured.
"""
