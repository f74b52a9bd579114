"""The two ways in which the emulator itself can fail to come up: its settings, and its start."""


class EmulatorError(Exception):
    """The emulator cannot do what it was asked to; the message says what was wrong, where, and what to do."""


class SettingsError(EmulatorError):
    """The settings file is wrong; the message lists every mistake: its place, what was found, what was wanted."""


class StartError(EmulatorError):
    """An instance or the listener did not come up; the message says which, why, and what its process printed last."""
