"""Embedders that do nearly nothing, to measure all but the embedding, or to fill a data folder with."""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import numpy as np

from headwater_server.retrieval.embedding import MiniLmEmbedder, Vectors
from headwater_server.retrieval.embedding.protocol import Vector


class ReadyVectors:
    """Vectors drawn by each text's digest, under the name of the built-in embedder's; implements `Embedder`."""

    def __init__(self) -> None:
        builtin = MiniLmEmbedder()
        self.name = builtin.name
        self.fingerprint = builtin.fingerprint
        self.dimension = builtin.dimension

    def embed_documents(self, texts: Sequence[str]) -> Vectors:
        """The vectors of passages."""
        return np.stack([self.embed_query(text) for text in texts])

    def embed_query(self, text: str) -> Vector:
        """The vector of a question."""
        seed = int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big")
        vector = np.random.default_rng(seed).standard_normal(self.dimension, dtype=np.float32)
        normal: Vector = vector / np.linalg.norm(vector)
        return normal


class _Embeddings(BaseHTTPRequestHandler):
    """OpenAI's `POST /embeddings`, with short vectors drawn by each text's digest."""

    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        texts = json.loads(self.rfile.read(int(self.headers["Content-Length"])))["input"]
        data = [{"index": number, "embedding": list(_digest(text))} for number, text in enumerate(texts)]
        body = json.dumps({"data": data}).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 (its name there)
        """Says nothing."""


def _digest(text: str) -> Iterator[int]:
    return (byte - 127 for byte in hashlib.sha512(text.encode()).digest())


@contextmanager
def embeddings_server() -> Iterator[str]:
    """Runs a server of embeddings in a thread; gives the settings by which `headwater serve` embeds with it."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Embeddings)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    url = f"http://127.0.0.1:{server.server_address[1]}/v1"
    try:
        yield f'[retrieval]\nembedder = "ready/vectors"\n\n[embedders.ready]\napi = "openai"\nbase_url = "{url}"\n'
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
