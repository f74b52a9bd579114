"""Where callers connect: what of HTTP is let in, and how many, how slow and how large it may be."""

from gateway.listener.limits import Limits, limits_of
from gateway.listener.server import Handler, Listener, open_listener

__all__ = ["Handler", "Limits", "Listener", "limits_of", "open_listener"]
