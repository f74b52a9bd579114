"""The next config in place of the one that holds: all of it or nothing, and in one step."""

import asyncio
from collections.abc import Callable, Mapping

from structlog.typing import FilteringBoundLogger

from gateway.access import Access, read_access
from gateway.assembly import Assembly, AssemblyError
from gateway.config import Config, ConfigError
from gateway.config.changes import carried, changes, clashes
from gateway.endpoint import Endpoint
from gateway.models import Reloaded
from gateway.tls import TlsError

BUG = "the gateway failed on this config; its log says why"


class ReloadError(Exception):
    """The config cannot be taken as the gateway runs; one line for each reason."""


class Reloader:
    """Takes the next config.

    What is new is opened before the old config goes, and what was of the old one alone is closed after it; in between,
    no request sees half of it.

    Args:
        config: the one that holds.
        assembly: its endpoints.
        access: keys and certificate.
        read: the next one, from wherever it is; runs in a thread.
        swap: is told of the new config and of the endpoints that have left, in the same turn of the loop.
        log: is told of each reload.

    Attributes:
        config: the one that holds.
    """

    def __init__(
        self,
        config: Config,
        *,
        assembly: Assembly,
        access: Access,
        read: Callable[[], Config],
        swap: Callable[[Config, Mapping[str, Endpoint]], None],
        log: FilteringBoundLogger,
    ) -> None:
        self.config = config
        self._assembly = assembly
        self._access = access
        self._read = read
        self._swap = swap
        self._log = log
        self._reloading = asyncio.Lock()

    async def reload(self) -> Reloaded:
        """Read the config, keys and certificate again, and take them; or keep all that there is, and say why."""
        async with self._reloading:  # one after the other: an older reading must not come last
            try:
                return await self._reload()
            except ConfigError as error:
                return self._refuse(str(error), file=error.path)
            except (AssemblyError, ReloadError, TlsError) as error:
                return self._refuse(str(error))
            except Exception:  # noqa: BLE001 - a bug of ours: the old config serves, and the next may be taken
                self._log.exception("reload_failed", problems=[BUG])
                return Reloaded(problems=(BUG,))

    async def _reload(self) -> Reloaded:
        found = await asyncio.to_thread(self._read)
        config = carried(self.config, found)
        if conflicts := clashes(config):
            raise ReloadError("\n".join(f"{conflict}; settings of listen need a restart" for conflict in conflicts))
        reading = await read_access(config)
        draft = await self._assembly.prepare(config)
        difference = changes(self.config, found)
        removed = self._assembly.adopt(draft)
        self.config = config
        self._swap(config, removed)
        self._access.adopt(reading)
        self._log.info("config_reloaded", **difference)
        try:
            await self._assembly.tidy(draft)
        except Exception:  # noqa: BLE001 - a bug of ours: the new config serves
            self._log.exception("reload_left_something_open")
        return Reloaded(changes=difference)

    def _refuse(self, text: str, **places: str) -> Reloaded:
        problems = text.splitlines()
        self._log.error("reload_failed", problems=problems, **places)
        return Reloaded(problems=tuple(problems))
