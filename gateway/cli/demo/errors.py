"""How the demo can fail to measure."""


class DemoError(Exception):
    """There is nothing to report; the message says what happened and what to look at."""
