"""A provider of everything that repeats, in all it says, the credentials it was shown: whole, in parts, and in URLs."""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

WAYS = (
    *("status 400", "status 401", "status 403", "status 404", "status 429", "status 500", "status 529"),
    *("redirect", "error in the stream", "bad JSON", "no stream", "page"),
)
"""How it fails; a prompt says which by `way N#`, and whatever says nothing gets the first."""
_WAY = re.compile(rb"way (\d+)#")
_CREDENTIALS = ("authorization", "x-api-key", "api-key", "x-goog-api-key")


@contextmanager
def leaking() -> Iterator[tuple[str, list[str]]]:
    """Serves it on a free port; gives its address, and the credentials it was shown so far."""
    shown: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self._fail(b"")

        def do_POST(self) -> None:
            self._fail(self.rfile.read(int(self.headers.get("content-length", 0))))

        def _fail(self, body: bytes) -> None:
            found = _WAY.search(body)
            way = WAYS[int(found[1]) if found else 0]
            shown.append(next((value for name in _CREDENTIALS if (value := self.headers.get(name))), ""))
            key = shown[-1] = shown[-1].removeprefix("Bearer ")
            self._send(*_failure(way, key, host=self.headers.get("host", ""), path=self.path), key=key)

        def _send(self, status: int, media_type: str, text: str, *, key: str) -> None:
            body = text.encode()
            self.send_response(status, key)  # the reason phrase, too
            self.send_header("content-type", media_type)
            self.send_header("content-length", str(len(body)))
            for name in ("x-request-id", "www-authenticate", "set-cookie", "server-timing"):
                self.send_header(name, f"a={key}")
            if status == 302:
                self.send_header("location", f"/elsewhere?key={key}")
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 (the base class's name)
            """Says nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_address[1]}", shown
        finally:
            server.shutdown()
            thread.join()


def _failure(way: str, key: str, *, host: str, path: str) -> tuple[int, str, str]:
    """The status, media type and body of one way to fail."""
    words = _words(key, host, path)
    error = {"message": words, "detail": words, "type": key or "x", "code": key or "x", "param": key}
    whole = json.dumps({"error": error, "message": words})
    match way:
        case "redirect":
            return 302, "text/plain", words
        case "error in the stream":
            event = json.dumps({"error": error, "type": "error", "message": words})
            return 200, "text/event-stream", f"event: error\ndata: {event}\n\n{event}\n"
        case "bad JSON":
            return 200, "text/event-stream", f"data: {{not JSON {words}\n\n"
        case "no stream":
            return 200, "application/json", whole
        case "page":
            return 502, "text/html", f"<html><title>{words}</title></html>"
        case _:
            return int(way.split()[1]), "application/json", whole


def _words(key: str, host: str, path: str) -> str:
    """What providers say of a key that they do not like, in all the forms that have been seen of it."""
    return (
        f"Incorrect API key provided: {key}. You sent Bearer {key}; {key[:8]}{'*' * 20}{key[-4:]}; {path} at {host};"
        f" see https://user:{key}@{host}/keys?api_key={key}#token={key} or redis://:{key}@cache:6379/0"
    )
