"""Sessions: which instance each is pinned to, by what the containers' answers say of it, and until when."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

from multidict import CIMultiDictProxy

from gateway.emulator.deployment import Deployment
from gateway.emulator.headers import CLOSED_SESSION_ID, NEW_SESSION_ID
from gateway.emulator.instance import Instance


@dataclass(frozen=True, slots=True)
class Seat:
    """Where a session is at home."""

    deployment: Deployment
    instance: Instance
    expires_at: datetime


class Sessions:
    """The sessions of one endpoint. An instance that leaves takes its sessions with it."""

    def __init__(self, wall_clock: Callable[[], datetime]) -> None:
        self._wall_clock = wall_clock
        self._seats: dict[str, Seat] = {}

    def find(self, session: str) -> Seat | None:
        """Where a session is at home, or None when it is unknown, closed or expired, or its instance has gone."""
        seat = self._seats.get(session)
        return seat if seat is not None and self._holds(seat) else None

    def heed(self, headers: CIMultiDictProxy[str], deployment: Deployment, instance: Instance) -> None:
        """Open and close what the answer of an instance says; a time of expiry that is none opens nothing."""
        closed, opened = headers.get(CLOSED_SESSION_ID), headers.get(NEW_SESSION_ID)
        if closed is not None:
            self._seats.pop(closed, None)
        if opened is None:
            return
        session, _, until = opened.partition("; Expires=")
        expires_at = _moment(until)
        if expires_at is not None:
            self._seats = {name: seat for name, seat in self._seats.items() if self._holds(seat)}
            self._seats[session] = Seat(deployment, instance, expires_at)

    def _holds(self, seat: Seat) -> bool:
        return self._wall_clock() < seat.expires_at and seat.instance in seat.deployment.fleet


def _moment(text: str) -> datetime | None:
    """A time such as 2026-01-31T23:59:59Z."""
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        return None
    return moment if moment.tzinfo is not None else None
