"""The sockets that a server listens on."""

from __future__ import annotations

import errno
import socket
import stat
from collections.abc import Sequence
from contextlib import ExitStack, suppress
from pathlib import Path

_BACKLOG = 1_000
_UNIX = "unix:"
_EVERYWHERE = {"0.0.0.0", "::"}  # noqa: S104 (told apart, not chosen)


class Listener:
    """A socket that listens.

    Args:
        taken: The socket.
        path: Where it is, of a Unix socket.
    """

    def __init__(self, taken: socket.socket, path: Path | None = None) -> None:
        self.socket = taken
        self._path = path
        self._inode = path.stat().st_ino if path is not None else 0

    @property
    def port(self) -> int:
        """Its port; 0 of a Unix socket."""
        return 0 if self._path is not None else int(self.socket.getsockname()[1])

    def close(self) -> None:
        """Closes it, and removes a Unix socket's file, unless somebody else has taken its place."""
        self.socket.close()
        if self._path is not None:
            with suppress(FileNotFoundError):
                if self._path.stat().st_ino == self._inode:
                    self._path.unlink()


def listeners(address: str, *, shared: bool) -> Sequence[Listener]:
    """Listens at an address: at each that its host has, on one port.

    Args:
        address: `host:port`, an IPv6 host in brackets, or `unix:PATH`.
        shared: Whether other processes may listen there too (SO_REUSEPORT).

    Raises:
        RuntimeError: It cannot be listened on.
    """
    try:
        if address.startswith(_UNIX):
            return [_at_path(Path(address.removeprefix(_UNIX)))]
        return _at_port(address, shared=shared)
    except (OSError, ValueError) as error:
        raise RuntimeError(f"cannot listen on {address}: {error}") from error


def _at_path(path: Path) -> Listener:
    with suppress(FileNotFoundError):
        if stat.S_ISSOCK(path.stat().st_mode):  # of a server that was killed
            path.unlink()
    with ExitStack() as stack:
        taken = stack.enter_context(socket.socket(socket.AF_UNIX))
        taken.bind(str(path))
        taken.listen(_BACKLOG)
        stack.pop_all()
    return Listener(taken, path)


def _at_port(address: str, *, shared: bool) -> Sequence[Listener]:
    host, _, port_name = address.rpartition(":")
    host, port = host.strip("[]"), int(port_name)
    if host in _EVERYWHERE and socket.has_dualstack_ipv6():
        host = "::"  # both, as gRPC does
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    with ExitStack() as stack:
        taken = []
        for family, kind, protocol, _, where in dict.fromkeys(found):
            one = stack.enter_context(socket.socket(family, kind, protocol))
            one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if shared:
                one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
            if family == socket.AF_INET6:
                one.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, host != "::")
            try:
                one.bind((where[0], port, *where[2:]))
            except OSError as error:
                if error.errno != errno.EADDRNOTAVAIL or family != socket.AF_INET6 or len(found) == 1:
                    raise
                continue  # `localhost` has an address that a machine without IPv6 has not
            one.listen(_BACKLOG)
            port = int(one.getsockname()[1])  # also for the host's other addresses
            taken.append(Listener(one))
        stack.pop_all()
    if not taken:
        raise OSError(errno.EADDRNOTAVAIL, f"{host} is no address of this machine")
    return taken
