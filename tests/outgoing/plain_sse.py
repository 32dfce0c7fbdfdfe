"""Server-sent events, read in the plainest way: what the parser that reads piece by piece is compared with."""

from __future__ import annotations

from headwater_server.outgoing.sse import ServerSentEvent


def reference(body: bytes) -> list[ServerSentEvent]:
    """The events of a whole body."""
    body = body.removeprefix(b"\xef\xbb\xbf")
    lines = body.replace(b"\r\n", b"\n").replace(b"\r", b"\n").split(b"\n")[:-1]
    events: list[ServerSentEvent] = []
    data: list[bytes] = []
    kind = b""
    for line in lines:
        if not line:
            if data:
                events.append(ServerSentEvent(b"\n".join(data), kind.decode("utf-8", "replace") or "message"))
            data, kind = [], b""
            continue
        name, colon, value = line.partition(b":")
        if colon and value[:1] == b" ":
            value = value[1:]
        if name == b"data":
            data.append(value)
        elif name == b"event":
            kind = value
    return events


PARTS = (
    b"data",
    b"event",
    b"id",
    b"retry",
    b":",
    b": ",
    b" ",
    b"\n",
    b"\r",
    b"\r\n",
    b"\n\n",
    b"data: x\n\n",
    b"\xef\xbb\xbf",
    "é\u2028\u2029\x85\x0b\x0c\x1c😀".encode(),
    b"\xff",
    b"[DONE]",
    b"{}",
    b"a",
)
"""What bodies are made of, where they are made by chance."""
