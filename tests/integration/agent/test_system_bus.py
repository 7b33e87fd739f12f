"""The agent's connection to the message bus, against a real dbus-daemon of the test's own."""

from __future__ import annotations

import asyncio
import shutil
import subprocess
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import pytest

from lekiwi_deploy.agent.supervisors.systemd.bus import Declined, SystemBus
from lekiwi_deploy.errors import Unavailable

pytestmark = [
    pytest.mark.engine,
    pytest.mark.skipif(
        shutil.which("dbus-daemon") is None, reason="dbus-daemon is not installed (package dbus-daemon)"
    ),
]
BUS = ("org.freedesktop.DBus", "/org/freedesktop/DBus", "org.freedesktop.DBus")
CONFIG = """<!DOCTYPE busconfig PUBLIC "-//freedesktop//DTD D-Bus Bus Configuration 1.0//EN"
 "http://www.freedesktop.org/standards/dbus/1.0/busconfig.dtd">
<busconfig><listen>unix:path={path}</listen><auth>EXTERNAL</auth>
<policy context="default"><allow send_destination="*"/><allow own="*"/><allow receive_sender="*"/></policy></busconfig>"""


class Daemon:
    """dbus-daemon at `address`."""

    def __init__(self, folder: Path) -> None:
        self.address = str(folder / "bus")
        self._config = folder / "bus.conf"
        self._config.write_text(CONFIG.format(path=self.address))
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        self._process = subprocess.Popen(
            ["dbus-daemon", f"--config-file={self._config}", "--nofork", "--print-address"], stdout=subprocess.PIPE
        )
        assert self._process.stdout is not None
        assert self._process.stdout.readline()

    def stop(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            assert self._process.stdout is not None
            self._process.stdout.close()
            self._process = None
            Path(self.address).unlink(missing_ok=True)


class Heard:
    """What a connection told."""

    def __init__(self, daemon: Daemon) -> None:
        self.signals: list[tuple[str, tuple[Any, ...]]] = []
        self.times = 0
        self.troubles: list[str] = []
        self.news = asyncio.Event()
        self.bus = SystemBus(
            signalled=self._signal, connected=self._connected, trouble=self._trouble, address=daemon.address
        )

    async def until(self, holds: Callable[[], bool]) -> None:
        async with asyncio.timeout(20):
            while not holds():
                self.news.clear()
                await self.news.wait()

    def _signal(self, path: str, interface: str, member: str, body: tuple[Any, ...]) -> None:
        self.signals.append((member, body))
        self.news.set()

    def _trouble(self, text: str) -> None:
        self.troubles.append(text)
        self.news.set()

    async def _connected(self) -> None:
        self.times += 1
        self.bus.match("type='signal',member='NameOwnerChanged'")
        self.news.set()


@pytest.fixture
def daemon(tmp_path: Path) -> Any:
    daemon = Daemon(tmp_path)
    daemon.start()
    yield daemon
    daemon.stop()


def run(work: Coroutine[Any, Any, None]) -> None:
    asyncio.run(work)


def test_calls_are_answered_and_refusals_say_what_was_refused(daemon: Daemon) -> None:
    async def work() -> None:
        heard = Heard(daemon)
        await heard.bus.open()
        (names,) = await heard.bus.call(*BUS, "ListNames")
        assert "org.freedesktop.DBus" in names
        with pytest.raises(Declined) as refused:
            await heard.bus.call(*BUS, "GetNameOwner", "s", ("no.such.name",))
        assert refused.value.name == "org.freedesktop.DBus.Error.NameHasNoOwner"
        answers = await asyncio.gather(*(heard.bus.call(*BUS, "NameHasOwner", "s", (name,)) for name in names * 50))
        assert answers == [(True,)] * len(names) * 50
        heard.bus.close()

    run(work())


def test_signals_that_were_asked_for_arrive(daemon: Daemon) -> None:
    async def work() -> None:
        one, two = Heard(daemon), Heard(daemon)
        await one.bus.open()
        await two.bus.open()
        await one.until(lambda: any(member == "NameOwnerChanged" for member, _ in one.signals))
        one.bus.close()
        two.bus.close()

    run(work())


def test_it_comes_back_when_the_bus_does(daemon: Daemon) -> None:
    async def work() -> None:
        heard = Heard(daemon)
        await heard.bus.open()
        waiting = asyncio.create_task(heard.bus.call(*BUS, "ListNames"))
        await waiting
        daemon.stop()
        await heard.until(lambda: bool(heard.troubles))
        with pytest.raises(Unavailable):
            await heard.bus.call(*BUS, "ListNames")
        daemon.start()
        await heard.until(lambda: heard.times == 2)
        other = Heard(daemon)
        await other.bus.open()
        await heard.until(lambda: bool(heard.signals))
        assert await heard.bus.call(*BUS, "NameHasOwner", "s", ("org.freedesktop.DBus",)) == (True,)
        other.bus.close()
        heard.bus.close()

    run(work())


def test_without_a_bus_it_says_so(tmp_path: Path) -> None:
    async def work() -> None:
        with pytest.raises(Unavailable, match="cannot be spoken to"):
            await Heard(Daemon(tmp_path)).bus.open()

    run(work())
