"""Ragna's document handlers and its LanceDB storage, with our embedder, for `benchmarks.import_pace`.

It runs in an environment of its own, which `benchmarks.import_pace` makes, and has nothing from this repository but the
embedder. It prints one JSON object for each folder that it is told on standard input.

Ragna makes tokens with tiktoken's `cl100k_base`, which is a download. Where it cannot be had, words by that encoding's
own pattern stand in for tokens: fewer of them in a text, so fewer passages to embed and to store, in Ragna's favour.
"""

from __future__ import annotations

import importlib
import json
import os
import resource
import sys
import tempfile
import time
import uuid
from pathlib import Path
from typing import Any

from headwater_server.retrieval.embedding.minilm import MiniLmEmbedder

# They are in the peer's own environment alone, so their types are not known to the rest of the repository.
lancedb: Any = importlib.import_module("lancedb")
pyarrow: Any = importlib.import_module("pyarrow")
regex: Any = importlib.import_module("regex")
tiktoken: Any = importlib.import_module("tiktoken")
ragna_core: Any = importlib.import_module("ragna.core")
ragna_storages: Any = importlib.import_module("ragna.source_storages")

# The pattern of cl100k_base, as tiktoken's openai_public.py has it.
_PATTERN = regex.compile(
    r"'(?i:[sdmt]|ll|ve|re)|[^\r\n\p{L}\p{N}]?+\p{L}++|\p{N}{1,3}+| ?[^\s\p{L}\p{N}]++[\r\n]*+|\s++$|\s*[\r\n]|"
    r"\s+(?!\S)|\s"
)


class Words:
    """Words in place of tokens."""

    name = "words"

    def encode(self, text: str) -> list[str]:
        """The words of a text, with the white space between them."""
        found: list[str] = _PATTERN.findall(text)
        return found

    def decode(self, tokens: list[str]) -> str:
        """The text again."""
        return "".join(tokens)


class Timed:
    """Our embedder, as Ragna's storage calls one, and how long it took."""

    def __init__(self) -> None:
        self.embedder = MiniLmEmbedder()
        self.seconds = 0.0

    def __call__(self, texts: list[str]) -> Any:
        """The vectors of texts."""
        began = time.thread_time()
        vectors = self.embedder.embed_documents(texts)
        self.seconds += time.thread_time() - began
        return vectors


def make_storage(folder: Path, *, tokenizer: Any, embed: Timed) -> Any:
    """Ragna's storage as it is, but for its tokenizer and embedder, which are downloads, and the place of its data."""
    storage = ragna_storages.LanceDB.__new__(ragna_storages.LanceDB)
    storage._tokenizer = tokenizer
    storage._embedding_dimensions = embed.embedder.dimension
    storage._embedding_function = embed
    storage._db = lancedb.connect(folder)
    storage._schema = pyarrow.schema(
        [
            pyarrow.field("id", pyarrow.string()),
            pyarrow.field("document_id", pyarrow.string()),
            pyarrow.field("page_numbers", pyarrow.string()),
            pyarrow.field("text", pyarrow.string()),
            pyarrow.field(storage._VECTOR_COLUMN_NAME, pyarrow.list_(pyarrow.float32(), storage._embedding_dimensions)),
            pyarrow.field("num_tokens", pyarrow.int32()),
        ]
    )
    return storage


def main() -> None:
    """Imports each folder that is named on standard input."""
    try:
        tokenizer: Any = tiktoken.get_encoding("cl100k_base")
    except OSError:
        tokenizer = Words()
    embed = Timed()
    with tempfile.TemporaryDirectory() as folder:
        storage = make_storage(Path(folder), tokenizer=tokenizer, embed=embed)
        for line in sys.stdin:
            measured = measure(storage, json.loads(line), embed=embed)
            print(json.dumps({**measured, "tokens": tokenizer.name}), flush=True)


def measure(storage: Any, asked: dict[str, str], *, embed: Timed) -> dict[str, object]:
    """Imports a folder into a new chat, and asks for what must be in it."""
    documents = [ragna_core.LocalDocument.from_path(path) for path in sorted(Path(asked["folder"]).iterdir())]
    chat = uuid.uuid4()
    embed.seconds = 0.0
    cpu, wall = cpu_seconds(), time.monotonic()
    storage.store(documents, chat_id=chat)
    cpu, wall, embedding = cpu_seconds() - cpu, time.monotonic() - wall, embed.seconds
    found = storage.retrieve(documents, asked["query"], chat_id=chat)
    return {
        "documents": len(documents),
        "passages": storage._db.open_table(str(chat)).count_rows(),
        "cpu_s": cpu,
        "embedding_s": embedding,
        "wall_s": wall,
        "found": [os.fspath(source.document.name) for source in found],
    }


def cpu_seconds() -> float:
    """User and system time of this process."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


if __name__ == "__main__":
    main()
