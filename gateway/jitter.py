"""A time, more or less, so that those who wait alike do not come back in step."""


def jittered(seconds: float, share: float, chance: float) -> float:
    """Seconds, up to so much less or more.

    Args:
        seconds: about how many.
        share: how much of them is left to chance, either way.
        chance: a number from 0 to 1, evenly.
    """
    return seconds * (1 - share + 2 * share * chance)
