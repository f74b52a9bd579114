"""Who may call, and behind which certificate: read at the start, and anew on demand, all of it or nothing."""

import asyncio
import ssl
from dataclasses import dataclass

from structlog.typing import FilteringBoundLogger

from gateway.callers import Callers
from gateway.config import Config
from gateway.config.keys import Keys, load_keys
from gateway.tls import Tls, load


class Access:
    """The keys and the certificate of one gateway.

    Args:
        config: tells where they are.
        log: is told of each reload.

    Raises:
        ConfigError: the keys file cannot be used.
        TlsError: the certificate cannot.
    """

    def __init__(self, config: Config, log: FilteringBoundLogger) -> None:
        self._log = log
        self.callers = Callers(read_keys(config))
        context = read_certificate(config)
        self._tls = None if context is None else Tls(context)

    @property
    def context(self) -> ssl.SSLContext | None:
        """What a listener of HTTPS needs; None for plain HTTP."""
        return None if self._tls is None else self._tls.context

    def adopt(self, reading: "Reading") -> None:
        """From now on these keys and this certificate.

        Whether there is a certificate at all does not change: a listener speaks TLS or does not.
        """
        self.callers.replace(reading.keys)
        if renewed := self._tls is not None and reading.context is not None:
            self._tls.replace(reading.context)
        count = None if reading.keys is None else len(reading.keys.keys)
        self._log.info("access_reloaded", keys=count, certificate=renewed)


@dataclass(frozen=True, slots=True)
class Reading:
    """Keys and certificate as their files have them; None where the config names none."""

    keys: Keys | None
    context: ssl.SSLContext | None


async def read_access(config: Config) -> Reading:
    """Read both, aside from the event loop.

    Raises:
        ConfigError: the keys file cannot be used.
        TlsError: the certificate cannot.
    """
    keys = await asyncio.to_thread(read_keys, config)
    return Reading(keys, await asyncio.to_thread(read_certificate, config))


def read_keys(config: Config) -> Keys | None:
    """The keys of those who may call; None where the config names no file of them.

    Raises:
        ConfigError: the file cannot be used.
    """
    if config.listen.keys_file is None:
        return None
    return load_keys(config.listen.keys_file, {*config.routes, *config.endpoints})


def read_certificate(config: Config) -> ssl.SSLContext | None:
    """The certificate of the listener; None where the config names none.

    Raises:
        TlsError: it cannot be used.
    """
    tls = config.listen.tls
    return None if tls.certificate is None or tls.key is None else load(tls.certificate, tls.key)
