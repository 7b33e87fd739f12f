"""One connection to the system bus: calls with answers, calls without, signals. It comes back by itself when the bus goes away."""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import Awaitable, Callable
from typing import Any

from jeepney.auth import AuthenticationError, Authenticator
from jeepney.low_level import (
    Endianness,
    Header,
    HeaderFields,
    Message,
    MessageFlag,
    MessageType,
    Parser,
)

from lekiwi_deploy.errors import Failed, Unavailable

ADDRESS = "/run/dbus/system_bus_socket"
CALL_S = 25.0
"""An answer that takes longer does not come any more."""
_RETRY_S = (0.05, 0.2, 0.5, 1.0, 2.0)
_OWN = ("org.freedesktop.DBus", "/org/freedesktop/DBus", "org.freedesktop.DBus")

Signal = Callable[[str, str, str, tuple[Any, ...]], None]
"""(object path, interface, member, body)"""


class Declined(Failed):
    """The other side answered with an error; `name` is D-Bus's name of it."""

    def __init__(self, name: str, message: str) -> None:
        super().__init__(message or name)
        self.name = name


class SystemBus:
    """`signalled` gets every signal that was asked for (`match`); `connected` is awaited whenever the connection stands (again), before
    anybody else's calls go through it again: it asks for the signals and reads what may have changed. `trouble` is told of lost connections."""

    def __init__(
        self,
        *,
        signalled: Signal,
        connected: Callable[[], Awaitable[None]],
        trouble: Callable[[str], None],
        address: str = ADDRESS,
    ) -> None:
        self._signalled = signalled
        self._connected = connected
        self._trouble = trouble
        self._address = address
        self._wire: _Wire | None = None
        self._keeper: asyncio.Task[None] | None = None
        self._closed = False

    async def open(self) -> None:
        """Connect. Raises `Unavailable` when there is no bus."""
        await self._connect()
        self._keeper = asyncio.create_task(self._keep(), name="system bus")

    async def call(
        self, destination: str, path: str, interface: str, member: str, signature: str = "", body: tuple[Any, ...] = ()
    ) -> tuple[Any, ...]:
        """Call a method; what it answers. Raises `Declined`, `Unavailable`."""
        wire = self._wire
        if wire is None:
            raise Unavailable("the system bus is not there; it is tried again")
        answer = wire.ask(_call(destination, path, interface, member, signature, body))
        try:
            async with asyncio.timeout(CALL_S):
                return await answer
        except TimeoutError:
            raise Unavailable(f"systemd did not answer {member} within {CALL_S:.0f} s") from None

    def post(
        self, destination: str, path: str, interface: str, member: str, signature: str = "", body: tuple[Any, ...] = ()
    ) -> None:
        """Call a method whose answer does not matter; not connected: nothing happens."""
        if self._wire is not None:
            self._wire.post(_call(destination, path, interface, member, signature, body))

    def match(self, rule: str, *, wanted: bool = True) -> None:
        """Ask for signals, or (`wanted` false) no more for those that were asked for."""
        self.post(*_OWN, "AddMatch" if wanted else "RemoveMatch", "s", (rule,))

    def close(self) -> None:
        """Hang up."""
        self._closed = True
        if self._keeper is not None:
            self._keeper.cancel()
        if self._wire is not None:
            self._wire.close()
            self._wire = None

    async def _connect(self) -> None:
        loop = asyncio.get_running_loop()
        try:
            _, wire = await loop.create_unix_connection(lambda: _Wire(self._signalled), self._address)
            async with asyncio.timeout(CALL_S):
                await wire.ready
                await wire.ask(_call(*_OWN, "Hello", "", ()))
        except (OSError, TimeoutError, AuthenticationError, Declined) as error:
            raise Unavailable(f"the system bus at {self._address} cannot be spoken to: {error}") from error
        self._wire = wire
        try:
            await self._connected()
        except BaseException:
            self._wire = None
            wire.close()
            raise

    async def _keep(self) -> None:
        while self._wire is not None:
            await self._wire.lost.wait()
            self._wire = None
            self._trouble("the connection to the system bus was lost; services run on")
            failures = 0
            while self._wire is None and not self._closed:
                await asyncio.sleep(_RETRY_S[min(failures, len(_RETRY_S) - 1)])
                failures += 1
                with contextlib.suppress(Unavailable, Failed):
                    await self._connect()


class _Wire(asyncio.Protocol):
    """One connection, from its authentication to its end."""

    def __init__(self, signalled: Signal) -> None:
        self.ready: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.lost = asyncio.Event()
        self._signalled = signalled
        self._auth: Authenticator | None = Authenticator()
        self._parser = Parser()
        self._serial = 0
        self._answers: dict[int, asyncio.Future[tuple[Any, ...]]] = {}
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self._continue_authentication()

    def data_received(self, data: bytes) -> None:
        if self._auth is not None:
            try:
                self._auth.feed(data)
                self._continue_authentication()
            except AuthenticationError as error:
                self._fail(error)
            return
        self._parser.add_data(data)
        while (message := self._parser.get_next_message()) is not None:
            self._take(message)

    def connection_lost(self, error: Exception | None) -> None:
        self._fail(error or ConnectionError("the bus hung up"))
        self.lost.set()

    def ask(self, message: Message) -> asyncio.Future[tuple[Any, ...]]:
        """Send a call; its answer, or `Declined`, or `Unavailable` when the connection ends before."""
        answer: asyncio.Future[tuple[Any, ...]] = asyncio.get_running_loop().create_future()
        serial = self._send(message)
        self._answers[serial] = answer
        answer.add_done_callback(lambda _: self._answers.pop(serial, None))
        return answer

    def post(self, message: Message) -> None:
        """Send a call that wants no answer."""
        message.header.flags = MessageFlag.no_reply_expected
        self._send(message)

    def close(self) -> None:
        """Hang up."""
        if self._transport is not None:
            self._transport.abort()

    def _continue_authentication(self) -> None:
        assert self._auth is not None and self._transport is not None
        for line in self._auth:
            if not line:
                return
            self._transport.write(line)
        if self._auth.authenticated:
            self._auth = None
            self._transport.write(b"BEGIN\r\n")
            self.ready.set_result(None)

    def _send(self, message: Message) -> int:
        assert self._transport is not None
        self._serial += 1
        self._transport.write(message.serialise(self._serial))
        return self._serial

    def _take(self, message: Message) -> None:
        fields = message.header.fields
        kind = message.header.message_type
        if kind is MessageType.signal:
            self._signalled(
                fields[HeaderFields.path], fields[HeaderFields.interface], fields[HeaderFields.member], message.body
            )
            return
        answer = self._answers.get(fields.get(HeaderFields.reply_serial, 0))
        if answer is None or answer.done():
            return
        if kind is MessageType.error:
            text = message.body[0] if message.body and isinstance(message.body[0], str) else ""
            answer.set_exception(Declined(str(fields.get(HeaderFields.error_name)), text))
        else:
            answer.set_result(tuple(message.body))

    def _fail(self, error: Exception) -> None:
        if not self.ready.done():
            self.ready.set_exception(error)
        for answer in list(self._answers.values()):
            if not answer.done():
                answer.set_exception(Unavailable(f"the connection to the system bus was lost: {error}"))
        if self._transport is not None:
            self._transport.abort()


def _call(destination: str, path: str, interface: str, member: str, signature: str, body: tuple[Any, ...]) -> Message:
    fields = {
        HeaderFields.path: path,
        HeaderFields.destination: destination,
        HeaderFields.interface: interface,
        HeaderFields.member: member,
    }
    if signature:
        fields[HeaderFields.signature] = signature
    header = Header(Endianness.little, MessageType.method_call, 0, 1, -1, -1, fields)
    return Message(header, body)


def there(address: str = ADDRESS) -> bool:
    """Whether there is a bus."""
    return os.path.exists(address)  # noqa: PTH110
