"""Asking the launcher of a demonstration who runs, and to kill, stop, pause or restart one."""

from typing import Any, NamedTuple, TypeVar

import aiohttp

ASK_S_MAX = 3.0
_REFUSED = 400


class Process(NamedTuple):
    """A node or a member of etcd as its launcher sees it; ``back_in_s`` None: not by itself."""

    name: str
    kind: str
    url: str
    pid: int | None
    state: str
    back_in_s: float | None
    deaths: int

    @property
    def is_up(self) -> bool:
        """Tell whether it runs and does not stand still."""
        return self.state == "running"


class Event(NamedTuple):
    """What was done to a process, or what it did; ``at_s`` in monotonic seconds."""

    serial: int
    at_s: float
    name: str
    kind: str
    what: str


class Seen(NamedTuple):
    """All processes, and the newest events, oldest first."""

    processes: tuple[Process, ...]
    events: tuple[Event, ...]

    def find(self, name: str) -> Process | None:
        """Return a process by its name."""
        return next((each for each in self.processes if each.name == name), None)


Made = TypeVar("Made", Process, Event)


class ControlSilent(Exception):
    """The launcher does not answer, or not in its language."""


class ControlRefused(Exception):
    """The launcher does not do it, and says why."""


class Control:
    """The way to the launcher. Without an address there is none: ``configured`` is False."""

    def __init__(self, url: str, token: str) -> None:
        self._url = url.rstrip("/")
        self._headers = {"Authorization": f"Bearer {token}"}
        self._session: aiohttp.ClientSession | None = None

    @property
    def configured(self) -> bool:
        """Tell whether this node was started by a launcher that can be asked."""
        return bool(self._url)

    async def look(self) -> Seen:
        """Return who runs. Raises ControlSilent."""
        said = await self._ask("GET", "/processes")
        try:
            processes = tuple(_made(Process, each) for each in said["processes"])
            events = tuple(_made(Event, each) for each in said["events"])
        except (KeyError, TypeError) as strange:
            raise ControlSilent(f"the launcher's answer cannot be read: {strange!r}") from None
        return Seen(processes, events)

    async def act(self, name: str, action: str, seconds: float | None) -> Event:
        """Do something to a process. Raises ControlSilent and ControlRefused."""
        body = {"action": action, "seconds": seconds}
        said = await self._ask("POST", f"/processes/{name}", json=body)
        try:
            return _made(Event, said)
        except (KeyError, TypeError) as strange:
            raise ControlSilent(f"the launcher's answer cannot be read: {strange!r}") from None

    async def close(self) -> None:
        """Close the connections that are kept."""
        if self._session is not None:
            await self._session.close()

    async def _ask(self, method: str, path: str, **options: Any) -> Any:
        if self._session is None:
            timeout = aiohttp.ClientTimeout(total=ASK_S_MAX)
            self._session = aiohttp.ClientSession(headers=self._headers, timeout=timeout)
        try:
            async with self._session.request(method, self._url + path, **options) as answer:
                said = await answer.json()
        except (TimeoutError, aiohttp.ClientError, OSError, ValueError) as lost:
            raise ControlSilent(
                f"the launcher does not answer: {str(lost) or type(lost).__name__}"
            ) from None
        if answer.status >= _REFUSED:
            raise ControlRefused(str(said.get("error", said)))
        return said


def _made(kind: type[Made], fields: dict[str, Any]) -> Made:
    """Return a tuple of this kind; a later launcher may say more."""
    return kind(**{name: fields[name] for name in kind._fields})
