"""The tests: one file per module, and the promises end to end."""
