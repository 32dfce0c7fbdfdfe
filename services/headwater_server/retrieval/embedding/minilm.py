"""The embedder that needs no network: all-MiniLM-L6-v2 in int8, on ONNX Runtime."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from headwater_server.retrieval.embedding.config import Device
from headwater_server.retrieval.embedding.devices import open_session
from headwater_server.retrieval.embedding.errors import EmbedderUnavailable
from headwater_server.retrieval.embedding.protocol import Vector, Vectors
from headwater_server.retrieval.onnx import load_runtime

MAX_CHARACTERS = 32_768
"""Only so much of a text is split into word pieces; 256 of them, all the model reads, rarely take 2,000."""


class MiniLmEmbedder:
    """all-MiniLM-L6-v2 with int8 weights; implements `Embedder`.

    Reads the first 256 word pieces of a text (some 200 words of English), in one way for passages and questions.

    Texts are run one by one, never as a batch. The scale of an int8 activation spans a whole call, so a batch would
    make a vector depend on its neighbours, even among texts of equal length, which need no padding: in fours, abstracts
    of 170 word pieces had a cosine of .9985 to themselves alone. Nor would it help: on one thread, batches of 2, 4 and
    8 such texts were within 8 % of one by one, in either direction. Memory is bounded by that too: a process that
    embeds one text at a time peaked at 140 MB, all included.

    Args:
        threads: How many threads compute one text. One gives the most texts a CPU-second; more, a quicker answer to
            one query on an idle machine.
        device: What it runs on; `auto` is a GPU where ONNX Runtime can use one, and the CPU elsewhere.

    Raises:
        ValueError: `threads` is below 1.
        EmbedderUnavailable: A package is not installed, a file of the model is missing or damaged, or there is no GPU
            that could be used and `device` asks for one.
    """

    def __init__(self, *, threads: int = 1, device: Device = "cpu") -> None:
        if threads < 1:
            raise ValueError(f"threads is {threads}; it must be at least 1")
        try:
            runtime = load_runtime()
            from tokenizers import Tokenizer  # noqa: PLC0415 (as above)

            import headwater_minilm as shipped  # noqa: PLC0415 (an extra: a bare import of this module needs none)
        except ImportError as error:
            raise EmbedderUnavailable(
                f"the built-in embedder needs {error.name}, which is not installed: pip install 'headwater[serve]'"
            ) from error
        self._name = shipped.MODEL_NAME
        self._dimension = shipped.DIMENSION

        tokenizer = _read(shipped.TOKENIZER_PATH, sha256=shipped.TOKENIZER_SHA256)
        self._tokenizer = Tokenizer.from_str(tokenizer.decode())
        self._tokenizer.no_padding()
        self._tokenizer.enable_truncation(shipped.MAX_TOKENS)

        options = runtime.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        options.log_severity_level = 3  # errors only: its warnings go straight to stderr, past our log
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")  # waiting threads would burn CPU
        model = _read(shipped.MODEL_PATH, sha256=shipped.MODEL_SHA256)
        self._session = open_session(runtime, model, options, device=device)

        parts = f"{shipped.MODEL_SHA256} {shipped.TOKENIZER_SHA256} {shipped.MAX_TOKENS} {MAX_CHARACTERS}"
        self._fingerprint = f"{self._name}/int8/{hashlib.sha256(parts.encode()).hexdigest()[:16]}"

    @property
    def name(self) -> str:
        """The model's name at its publisher."""
        return self._name

    @property
    def fingerprint(self) -> str:
        """Made of the checksums of the graph and the tokenizer, and of where texts are cut."""
        return self._fingerprint

    @property
    def dimension(self) -> int:
        """384."""
        return self._dimension

    def embed_documents(self, texts: Sequence[str]) -> Vectors:
        """The vectors of passages; see `Embedder`."""
        if isinstance(texts, str):
            raise TypeError("texts is one str; give a sequence of them")
        tokens = [self._tokens(text, position=position) for position, text in enumerate(texts)]
        vectors = np.empty((len(tokens), self._dimension), dtype=np.float32)
        for row, ids in zip(vectors, tokens, strict=True):
            row[:] = self._run(ids)
        return vectors

    def embed_query(self, text: str) -> Vector:
        """The vector of a question; see `Embedder`."""
        return self._run(self._tokens(text, position=0))

    def _tokens(self, text: str, *, position: int) -> npt.NDArray[np.int64]:
        if not isinstance(text, str):
            raise TypeError(f"texts[{position}] is {type(text).__name__}, not str")
        try:
            # One at a time: encode_batch would start a thread for each core, whatever `threads` says.
            ids = self._tokenizer.encode(text[:MAX_CHARACTERS]).ids
        except TypeError as error:  # what the tokenizer makes of a text it cannot encode as UTF-8
            raise ValueError(f"texts[{position}] is not valid Unicode: it holds a lone surrogate") from error
        return np.array(ids, dtype=np.int64)

    def _run(self, ids: npt.NDArray[np.int64]) -> Vector:
        vector: Vector = self._session.run(["embedding"], {"input_ids": ids[np.newaxis]})[0][0]
        return vector


def _read(path: Path, *, sha256: str) -> bytes:
    """The file, compared with its checksum: a damaged model would give wrong vectors without a word."""
    try:
        content = path.read_bytes()
    except OSError as error:
        raise EmbedderUnavailable(f"cannot read {path} ({error.strerror}): install headwater-minilm again") from error
    if hashlib.sha256(content).hexdigest() != sha256:
        raise EmbedderUnavailable(f"{path} is damaged (its checksum is wrong): install headwater-minilm again")
    return content
