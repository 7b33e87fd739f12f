"""systemd, as the agent speaks to it: units by name, facts out, orders in."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

from lekiwi_deploy.agent.supervisors.systemd.bus import ADDRESS, Declined, SystemBus
from lekiwi_deploy.agent.supervisors.systemd.facts import SERVICE_PROPERTIES, UNIT_PROPERTIES, Facts, updated
from lekiwi_deploy.agent.supervisors.systemd.places import object_path
from lekiwi_deploy.errors import LekiwiError

_NAME = "org.freedesktop.systemd1"
_PATH = "/org/freedesktop/systemd1"
_MANAGER = f"{_NAME}.Manager"
_UNIT = f"{_NAME}.Unit"
_SERVICE = f"{_NAME}.Service"
_PROPERTIES = "org.freedesktop.DBus.Properties"
_SUBSCRIBED = f"{_NAME}.AlreadySubscribed"
_NO_SUCH_UNIT = f"{_NAME}.NoSuchUnit"

Properties = dict[str, tuple[str, Any]]


@dataclass(frozen=True, slots=True)
class Listed:
    """A unit that systemd has loaded."""

    name: str
    load: str
    active: str
    sub: str


class Manager:
    """`back` is awaited when the connection stands again, and when systemd itself began anew: whatever is known may be old then."""

    def __init__(
        self,
        *,
        back: Callable[[], Awaitable[None]],
        trouble: Callable[[str], None],
        address: str = ADDRESS,
    ) -> None:
        self._back = back
        self._trouble = trouble
        self._watched: dict[str, Callable[[Properties], None]] = {}
        self._halves: dict[str, Properties] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._bus = SystemBus(signalled=self._signalled, connected=self._connected, trouble=trouble, address=address)

    async def open(self) -> None:
        """Connect. Raises `Unavailable`."""
        await self._bus.open()

    def close(self) -> None:
        """Hang up."""
        self._bus.close()

    def watch(self, unit: str, changed: Callable[[Properties], None]) -> None:
        """Tell of its changes from now on: all that came together, once."""
        path = object_path(unit)
        if path not in self._watched:
            self._bus.match(_rule(path))
        self._watched[path] = changed

    def unwatch(self, unit: str) -> None:
        """No more."""
        if self._watched.pop(object_path(unit), None) is not None:
            self._bus.match(_rule(object_path(unit)), wanted=False)

    async def start(self, unit: str) -> None:
        """Returns when it was taken on, not when it is done. Raises `Declined`, `Unavailable`, as everything here."""
        await self._call("StartUnit", "ss", unit, "replace")

    async def restart(self, unit: str) -> None:
        """Start it anew, whatever it is doing."""
        await self._call("RestartUnit", "ss", unit, "replace")

    async def stop(self, unit: str) -> None:
        """Returns when it was taken on. Not loaded: nothing."""
        await self._unless_gone("StopUnit", "ss", unit, "replace")

    async def kill(self, unit: str, number: int, who: str = "all") -> None:
        """A signal to all its processes, or to its `main` one. There is none: nothing."""
        try:
            await self._unless_gone("KillUnit", "ssi", unit, who, number)
        except Declined as error:
            if not error.name.endswith(("NoSuchProcess", "UnitInactive")) and "no process" not in error.message.lower():
                raise

    async def freeze(self, unit: str) -> None:
        """Returns when all its processes stand still. Raises `Declined` where the kernel cannot."""
        await self._call("FreezeUnit", "s", unit)

    async def thaw(self, unit: str) -> None:
        """Let them go on."""
        await self._call("ThawUnit", "s", unit)

    async def reset_failed(self, unit: str) -> None:
        """Forget that it failed, so that systemd can forget all of it."""
        await self._unless_gone("ResetFailedUnit", "s", unit)

    async def list(self, pattern: str) -> tuple[Listed, ...]:
        """Every unit whose name fits that systemd has loaded."""
        (units,) = await self._call("ListUnitsByPatterns", "asas", [], [pattern])
        return tuple(Listed(name=item[0], load=item[2], active=item[3], sub=item[4]) for item in units)

    async def facts(self, unit: str) -> Facts:
        """How it is now."""
        path = object_path(unit)
        wanted = [(_UNIT, name) for name in UNIT_PROPERTIES] + [(_SERVICE, name) for name in SERVICE_PROPERTIES]
        values = await asyncio.gather(*(self._get(path, interface, name) for interface, name in wanted))
        return updated(Facts(), {name: value for (_, name), value in zip(wanted, values, strict=True)})

    async def fragment(self, unit: str) -> str:
        """The file that it was loaded from; empty: from none."""
        return str((await self._get(object_path(unit), _UNIT, "FragmentPath"))[1])

    async def _call(self, member: str, signature: str = "", *body: Any) -> tuple[Any, ...]:
        return await self._bus.call(_NAME, _PATH, _MANAGER, member, signature, body)

    async def _unless_gone(self, member: str, signature: str, *body: Any) -> None:
        try:
            await self._call(member, signature, *body)
        except Declined as error:
            if error.name != _NO_SUCH_UNIT:
                raise

    async def _get(self, path: str, interface: str, name: str) -> tuple[str, Any]:
        (value,) = await self._bus.call(_NAME, path, _PROPERTIES, "Get", "ss", (interface, name))
        return (str(value[0]), value[1])

    async def _connected(self) -> None:
        self._bus.match(f"type='signal',sender='org.freedesktop.DBus',member='NameOwnerChanged',arg0='{_NAME}'")
        for path in self._watched:
            self._bus.match(_rule(path))
        await self._subscribe()
        await self._back()

    async def _subscribe(self) -> None:
        try:
            await self._call("Subscribe")
        except Declined as error:
            if error.name != _SUBSCRIBED:
                raise

    def _signalled(self, path: str, interface: str, member: str, body: tuple[Any, ...]) -> None:
        if member == "PropertiesChanged" and interface == _PROPERTIES:
            self._changed(path, body[0], body[1])
        elif member == "NameOwnerChanged" and len(body) == 3 and body[2]:
            task = asyncio.create_task(self._again())
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    def _changed(self, path: str, interface: str, properties: Properties) -> None:
        """systemd tells of a change in two signals, the service's part first; alone, it would be half of the truth."""
        changed = self._watched.get(path)
        if changed is None:
            return
        if interface == _SERVICE:
            self._halves[path] = properties
        elif interface == _UNIT:
            changed({**self._halves.pop(path, {}), **properties})

    async def _again(self) -> None:
        try:
            await self._subscribe()
            await self._back()
        except LekiwiError as error:
            self._trouble(f"systemd began anew and could not be read: {error.message}")


def _rule(path: str) -> str:
    return f"type='signal',sender='{_NAME}',interface='{_PROPERTIES}',member='PropertiesChanged',path='{path}'"
