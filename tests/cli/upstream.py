"""A model behind an OpenAI-compatible API that goes on talking until nobody listens."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class EndlessModel:
    """What the tests know of it.

    Attributes:
        base_url: Where it is.
        hung_up: Set once a listener has gone.
    """

    def __init__(self, base_url: str) -> None:
        self.base_url = base_url
        self.hung_up = threading.Event()


@contextmanager
def endless_model() -> Iterator[EndlessModel]:
    """Serves the model on a free port for as long as the context lasts."""
    closing = threading.Event()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            self.send_response(200)
            self.send_header("Content-Type", "text/event-stream")
            self.end_headers()
            delta = json.dumps({"id": "1", "choices": [{"index": 0, "delta": {"content": "on and on "}}]})
            try:
                while not closing.wait(0.02):
                    self.wfile.write(f"data: {delta}\n\n".encode())
                    self.wfile.flush()
            except OSError:
                model.hung_up.set()

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002  # the base class's name
            """Says nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        model = EndlessModel(f"http://127.0.0.1:{server.server_address[1]}/v1")
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield model
        finally:
            closing.set()
            server.shutdown()
            thread.join()
