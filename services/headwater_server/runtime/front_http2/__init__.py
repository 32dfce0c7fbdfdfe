"""A front of our own: HTTP/2 and gRPC in Python, for servers of streams whose messages are many and small.

    server = Http2Server(interceptors, Limits(max_streams=1_000))
    add_servicer(server, ANSWER, implementation)
    port = server.listen("127.0.0.1:0")
    await server.start()

Handlers and interceptors are those of `grpc.aio`, and see of a call what they see there. From outside to inside:
`server` listens; `accepting` takes connections; `transport` is one socket, its tasks and its time limits; `dispatch`
finds handlers and turns what comes of them into statuses; `call` is one call; `connection` is HTTP/2's state machine,
over `frames`, `fields`, `messages`, `sending` (flow control) and `budget` (floods).

It does what a gRPC server has to, and no more: no compression of what it sends, no HTTP/1.1, no priorities, no push.
"""

from __future__ import annotations

from headwater_server.runtime.front_http2.limits import Limits
from headwater_server.runtime.front_http2.server import Http2Server

__all__ = ["Http2Server", "Limits"]
