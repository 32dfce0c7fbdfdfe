"""A TCP proxy that can reset one caller's connection, which grpcio's server cannot."""

from __future__ import annotations

import asyncio
import socket
import struct


class ResettingProxy:
    """Passes bytes between callers and a server on this machine."""

    def __init__(self, server_port: int) -> None:
        self._server_port = server_port
        self._callers: dict[int, asyncio.StreamWriter] = {}  # by the port that the server sees
        self._tasks: set[asyncio.Task[None]] = set()
        self._listener: asyncio.Server | None = None
        self.speaks = asyncio.Event()
        """While it is cleared, callers hear nothing of what the server says."""
        self.speaks.set()

    async def start(self) -> int:
        """Listens, and returns the port."""
        self._listener = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        port: int = self._listener.sockets[0].getsockname()[1]
        return port

    async def stop(self) -> None:
        """Stops listening, and ends what is still open."""
        if self._listener is not None:
            self._listener.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def reset_all(self) -> None:
        """Resets every connection."""
        for peer_port in list(self._callers):
            self.reset(peer_port)

    def reset(self, peer_port: int) -> None:
        """Resets the connection of the caller whom the server sees at this port."""
        caller = self._callers[peer_port]
        linger = struct.pack("ii", 1, 0)  # closing without waiting sends RST instead of FIN
        caller.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
        caller.transport.abort()

    def _accept(self, reader: asyncio.StreamReader, caller: asyncio.StreamWriter) -> None:
        # A task of our own: asyncio reports one of its own that is cancelled as an error.
        task = asyncio.create_task(self._serve(reader, caller))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _serve(self, reader: asyncio.StreamReader, caller: asyncio.StreamWriter) -> None:
        server_reader, server = await asyncio.open_connection("127.0.0.1", self._server_port)
        peer_port: int = server.get_extra_info("sockname")[1]
        self._callers[peer_port] = caller
        try:
            await asyncio.gather(_pass(reader, server), _pass(server_reader, caller, self.speaks))
        finally:
            del self._callers[peer_port]


async def _pass(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, speaks: asyncio.Event | None = None
) -> None:
    try:
        while data := await reader.read(65536):
            if speaks is not None:
                await speaks.wait()
            writer.write(data)
            await writer.drain()
    except OSError:
        pass  # one side is gone; closing tells the other
    finally:
        writer.close()
