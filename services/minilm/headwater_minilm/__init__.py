"""all-MiniLM-L6-v2 as int8 ONNX: where its files are, and what they must be."""

from __future__ import annotations

from pathlib import Path
from typing import Final

__all__ = [
    "DIMENSION",
    "MAX_TOKENS",
    "MODEL_NAME",
    "MODEL_PATH",
    "MODEL_SHA256",
    "TOKENIZER_PATH",
    "TOKENIZER_SHA256",
]

MODEL_NAME: Final = "all-MiniLM-L6-v2"
"""The model's name at its publisher, sentence-transformers."""

DIMENSION: Final = 384
"""How many components a vector has."""

MAX_TOKENS: Final = 256
"""The most word pieces the graph takes, `[CLS]` and `[SEP]` included."""

MODEL_PATH: Final = Path(__file__).with_name("model.onnx")
"""The ONNX graph: `input_ids` int64 (texts, tokens), no padding, to `embedding` float32 (texts, 384), unit length."""

MODEL_SHA256: Final = "a5760105600385cdb1c8d970c26d90663934ffc33b3ab4ffafd0528f31b760bb"
"""SHA-256 of the file at `MODEL_PATH`."""

TOKENIZER_PATH: Final = Path(__file__).with_name("tokenizer.json")
"""The tokenizer, in the format of the `tokenizers` library; its own truncation and padding are to be overridden."""

TOKENIZER_SHA256: Final = "be50c3628f2bf5bb5e3a7f17b1f74611b2561a3a27eeab05e5aa30f411572037"
"""SHA-256 of the file at `TOKENIZER_PATH`."""
