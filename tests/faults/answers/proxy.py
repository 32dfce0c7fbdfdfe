"""A TCP proxy that does to connections what networks do: resets, silence without an end, half a close, refusal."""

from __future__ import annotations

import asyncio
import random
import socket
import struct
from contextlib import suppress

_MOST_HELD = 1000


class Connection:
    """One caller's connection, and the one to the server behind it."""

    def __init__(self, caller: asyncio.StreamWriter, server: asyncio.StreamWriter) -> None:
        self._caller = caller
        self._server = server
        self.flows = asyncio.Event()
        """Cleared, nothing passes, and neither side is told."""
        self.flows.set()
        self.given_up: dict[str, float] = {}
        """When each side, `caller` and `server`, closed it, by the loop's clock."""

    def reset(self) -> None:
        """Resets both sides."""
        linger = struct.pack("ii", 1, 0)  # closing without waiting sends RST instead of FIN
        for writer in (self._caller, self._server):
            with suppress(OSError):
                writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
            writer.transport.abort()

    def half_close(self) -> None:
        """Tells the caller that the server says no more, and goes on in the other direction."""
        with suppress(OSError):
            self._caller.write_eof()

    async def carry(self, side: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Passes on what one side says, to its end; while nothing may pass it still sees that the side is gone."""
        held = asyncio.Queue[bytes](_MOST_HELD)
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._hear(side, reader, held))
            tasks.create_task(self._say(held, writer))

    async def _hear(self, side: str, reader: asyncio.StreamReader, held: asyncio.Queue[bytes]) -> None:
        with suppress(OSError):
            while data := await reader.read(65536):
                await held.put(data)
        self.given_up[side] = asyncio.get_running_loop().time()
        await held.put(b"")

    async def _say(self, held: asyncio.Queue[bytes], writer: asyncio.StreamWriter) -> None:
        said_all = False
        with suppress(OSError, RuntimeError):  # the other side is gone, or was told that no more comes
            while data := await held.get():
                await self.flows.wait()
                writer.write(data)
                await writer.drain()
            said_all = True
            await self.flows.wait()
        with suppress(OSError):
            writer.close()
        while not said_all and await held.get():
            pass  # nobody hears it any more


class Proxy:
    """Passes bytes between callers and a server on this machine, until it is told otherwise.

    Args:
        server_port: Where the server listens, now or later.
    """

    def __init__(self, server_port: int) -> None:
        self._server_port = server_port
        self._connections: set[Connection] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._listener: asyncio.Server | None = None
        self._refuses = False
        self.port = 0

    async def start(self) -> None:
        """Listens."""
        self._listener = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        self.port = self._listener.sockets[0].getsockname()[1]

    async def stop(self) -> None:
        """Stops listening, and ends what is still open."""
        if self._listener is not None:
            self._listener.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def reset_some(self, chance: random.Random) -> int:
        """Resets about half of the connections, at least one; returns how many."""
        chosen = [connection for connection in self._connections if chance.random() < 0.5] or list(self._connections)
        for connection in chosen:
            connection.reset()
        return len(chosen)

    def silence(self) -> list[Connection]:
        """Lets nothing pass on the connections that there are; new ones work. Returns them, to be heard again."""
        for connection in self._connections:
            connection.flows.clear()
        return list(self._connections)

    def half_close(self) -> None:
        """Half-closes the connections that there are."""
        for connection in self._connections:
            connection.half_close()

    def refuse(self, *, refuses: bool) -> None:
        """Resets who connects from now on, or takes them again."""
        self._refuses = refuses

    def _accept(self, reader: asyncio.StreamReader, caller: asyncio.StreamWriter) -> None:
        # A task of our own: asyncio reports one of its own that is cancelled as an error.
        task = asyncio.create_task(self._serve(reader, caller))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _serve(self, reader: asyncio.StreamReader, caller: asyncio.StreamWriter) -> None:
        try:
            if self._refuses:
                raise ConnectionRefusedError
            server_reader, server = await asyncio.open_connection("127.0.0.1", self._server_port)
        except OSError:
            caller.transport.abort()
            return
        connection = Connection(caller, server)
        self._connections.add(connection)
        try:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(connection.carry("caller", reader, server))
                tasks.create_task(connection.carry("server", server_reader, caller))
        finally:
            self._connections.discard(connection)
            caller.transport.abort()
            server.transport.abort()
