"""The one port that several processes listen on.

Each of them listens with SO_REUSEPORT, and the kernel spreads connections over them. A server of anybody else's that
does so too would go unnoticed, and get a share of the calls. So the parent first sees whether the port can be had
alone, and then binds it itself, without listening: it stays taken while its processes come and go, and port 0 is
one port for all of them.
"""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

from headwater_server.runtime.security import split_address


class AddressTakenError(Exception):
    """The address cannot be listened on; the message says so."""


@contextmanager
def kept_port(address: str) -> Iterator[str]:
    """Keeps a port for this process and those it starts, for as long as the context lasts.

    Args:
        address: `host:port`; port 0 takes a free one.

    Yields:
        The address with its port.

    Raises:
        AddressTakenError: Somebody else listens there, or it is no address of this machine.
    """
    host, port = split_address(address)
    with ExitStack() as stack:
        try:
            for family, _, _, _, where in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM):
                wanted = (where[0], port, *where[2:])
                if port:
                    _require_free(family, wanted)
                bound = stack.enter_context(_socket(family))
                bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # connections of an earlier server linger
                bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
                bound.bind(wanted)
                port = bound.getsockname()[1]  # also for the host's other addresses
        except OSError as error:
            shown = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
            raise AddressTakenError(
                f"cannot listen on {shown}: is another server running there, or is it no address of this machine? "
                "Choose another with --address"
            ) from error
        yield f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def _require_free(family: int, wanted: tuple[object, ...]) -> None:
    with _socket(family) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        probe.bind(wanted)
        probe.listen()


def _socket(family: int) -> socket.socket:
    made = socket.socket(family, socket.SOCK_STREAM)
    if family == socket.AF_INET6:
        made.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
    return made
