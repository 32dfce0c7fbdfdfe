"""Embedders that are not as they should be; workers import this module."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Sequence
from pathlib import Path

from headwater_server.retrieval.embedding import Embedder, EmbedderUnavailable, MiniLmEmbedder, Vectors


class HarmfulEmbedder(MiniLmEmbedder):
    """The real one, but for passages with certain words."""

    def embed_documents(self, texts: Sequence[str]) -> Vectors:
        for text in texts:
            if "CRASH" in text:
                os.kill(os.getpid(), signal.SIGSEGV)
            if "GLUTTONY" in text:
                bytearray(10**12)
            if "ABORT" in text:
                os.abort()
            while "SPIN" in text:
                pass
            if "HANG" in text:
                time.sleep(600)
            if "DEFECT" in text:
                raise RuntimeError("secret of the document")
            if "SPY" in text:
                Path(text.split()[-1]).read_bytes()
            if "SLOW" in text:
                time.sleep(0.2)
        return super().embed_documents(texts)


class OtherEmbedder(MiniLmEmbedder):
    """The real one under another fingerprint, as if its vectors could not be compared."""

    @property
    def fingerprint(self) -> str:
        return "other/1"


def embedder_unless(path: Path) -> Embedder:
    """The real one, or, while there is such a file, none."""
    if path.exists():
        raise EmbedderUnavailable("the model is not installed")
    return MiniLmEmbedder()
