"""Who may call, and behind which certificate: read at the start, and anew on demand, all of it or nothing."""

import asyncio
import ssl

from structlog.typing import FilteringBoundLogger

from gateway.callers import Callers
from gateway.config import Config, ConfigError
from gateway.config.keys import Keys, load_keys
from gateway.tls import Tls, TlsError, load


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
        self._reloading = asyncio.Lock()
        self.callers = Callers(read_keys(config))
        context = read_certificate(config)
        self._tls = None if context is None else Tls(context)

    @property
    def context(self) -> ssl.SSLContext | None:
        """What a listener of HTTPS needs; None for plain HTTP."""
        return None if self._tls is None else self._tls.context

    async def reload(self, config: Config) -> bool:
        """Read keys and certificate again; whether all could be taken. Else the old ones stay, and the log says why.

        Args:
            config: tells where they are, and the names that keys may be for. Whether there is a certificate at all
                does not change: a listener speaks TLS or does not.
        """
        async with self._reloading:  # one after the other: an older reading must not bring a key back
            return await self._reload(config)

    async def _reload(self, config: Config) -> bool:
        try:
            keys = await asyncio.to_thread(read_keys, config)
            context = await asyncio.to_thread(read_certificate, config)
        except ConfigError as error:
            self._log.error("access_reload_failed", file=error.path, problems=str(error).splitlines())
            return False
        except TlsError as error:
            self._log.error("access_reload_failed", problems=[str(error)])
            return False
        self.callers.replace(keys)
        if renewed := self._tls is not None and context is not None:
            self._tls.replace(context)
        self._log.info("access_reloaded", keys=None if keys is None else len(keys.keys), certificate=renewed)
        return True


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
