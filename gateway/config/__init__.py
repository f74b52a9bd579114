"""The settings: typed, frozen, validated; one place for name, default, unit and meaning."""

from gateway.config.file import load
from gateway.config.notes import notes
from gateway.config.problems import ConfigError, Problem
from gateway.config.schema import json_schema
from gateway.config.settings import Admin, Aws, Config, Drain, Endpoint, Listen, Log, Queue, Route, Target, Tls

__all__ = [
    "Admin",
    "Aws",
    "Config",
    "ConfigError",
    "Drain",
    "Endpoint",
    "Listen",
    "Log",
    "Problem",
    "Queue",
    "Route",
    "Target",
    "Tls",
    "json_schema",
    "load",
    "notes",
]
