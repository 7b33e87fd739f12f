"""A door from a network of machines to a server on this machine: for servers that need what the network has not, a package index."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import threading

from lekiwi_deploy.testing.machine_network import Lan


class Relay:
    """Listens at the server's address of `lan` and hands every connection on to `target`, a port of 127.0.0.1 here (it may be set
    later; connections before that are closed). Made on construction; `close` ends it and every connection."""

    def __init__(self, lan: Lan, target: int = 0) -> None:
        self.target = target
        with lan.entered():
            self._socket = socket.create_server((lan.address, 0), backlog=256)
        self.port = int(self._socket.getsockname()[1])
        self.url = f"http://{lan.address}:{self.port}"
        self._loop = asyncio.new_event_loop()
        self._tasks: set[asyncio.Task[None]] = set()
        self._thread = threading.Thread(target=self._run, daemon=True, name="relay")
        self._thread.start()

    def close(self) -> None:
        """End it."""
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        server = self._loop.run_until_complete(asyncio.start_server(self._serve, sock=self._socket))
        self._loop.run_forever()
        server.close()
        for task in (tasks := list(self._tasks)):
            task.cancel()
        self._loop.run_until_complete(asyncio.gather(*tasks, return_exceptions=True))
        self._loop.run_until_complete(self._loop.shutdown_asyncgens())
        self._loop.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        there: asyncio.StreamWriter | None = None
        try:
            with contextlib.suppress(OSError, asyncio.CancelledError):  # cancelled by `close` alone
                back, there = await asyncio.open_connection("127.0.0.1", self.target)
                await asyncio.gather(_pump(reader, there), _pump(back, writer))
        finally:
            for end in (writer, there):
                if end is not None:
                    end.transport.abort()


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while data := await reader.read(1 << 16):
        writer.write(data)
        await writer.drain()
    with contextlib.suppress(OSError):
        writer.write_eof()
