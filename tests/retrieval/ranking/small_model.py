"""A cross-encoder of a few bytes: its score is the sum of the ids of the tokens that its mask leaves.

ONNX is protobuf (`onnx.proto` at github.com/onnx/onnx); the few fields needed are written here by hand.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping
from pathlib import Path

from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import Whitespace
from tokenizers.processors import TemplateProcessing

_FLOAT, _INT64 = 1, 7
_INT, _INTS = 2, 7  # kinds of attributes


def write_model(folder: Path, vocabulary: Mapping[str, int], *, pairs: int | None = None, bias: float = 0.0) -> None:
    """Writes `model.onnx` and `tokenizer.json`.

    Args:
        folder: Where.
        vocabulary: The number of each word; words that are not in it are the token 1.
        pairs: How many pairs the model takes at once; None: any number.
        bias: What it adds to each score.
    """
    folder.mkdir(parents=True)
    tokenizer = Tokenizer(WordLevel({"[PAD]": 0, "[UNK]": 1, "[SEP]": 2, **vocabulary}, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = Whitespace()
    tokenizer.post_processor = TemplateProcessing(
        single="$A [SEP]", pair="$A [SEP] $B:1 [SEP]:1", special_tokens=[("[SEP]", 2)]
    )
    tokenizer.save(str(folder / "tokenizer.json"))
    (folder / "model.onnx").write_bytes(_model(pairs, bias))


def _model(pairs: int | None, bias: float) -> bytes:
    nodes = [
        _node("Mul", ["input_ids", "attention_mask"], "left"),
        _node("Cast", ["left"], "numbers", _text(1, "to") + _number(3, _FLOAT) + _number(20, _INT)),
        _node("ReduceSum", ["numbers"], "sums", _text(1, "axes") + _number(8, 1) + _number(20, _INTS)),
        _node("Add", ["sums", "bias"], "logits"),
    ]
    graph = b"".join(_message(1, node) for node in nodes) + _text(2, "sum")
    for name in ("input_ids", "attention_mask"):
        graph += _message(11, _value(name, _INT64, pairs))
    graph += _message(5, _number(2, _FLOAT) + _text(8, "bias") + _message(9, struct.pack("<f", bias)))
    graph += _message(12, _value("logits", _FLOAT, pairs))
    return _number(1, 6) + _message(7, graph) + _message(8, _text(1, "") + _number(2, 11))


def _node(operator: str, inputs: list[str], output: str, attribute: bytes = b"") -> bytes:
    node = b"".join(_text(1, each) for each in inputs) + _text(2, output) + _text(4, operator)
    return node + (_message(5, attribute) if attribute else b"")


def _value(name: str, kind: int, pairs: int | None) -> bytes:
    rows = _text(2, "pairs") if pairs is None else _number(1, pairs)
    shape = b"".join(_message(1, size) for size in (rows, _text(2, f"tokens of {name}")))
    return _text(1, name) + _message(2, _message(1, _number(1, kind) + _message(2, shape)))


def _number(field: int, value: int) -> bytes:
    return _varint(field << 3) + _varint(value)


def _message(field: int, content: bytes) -> bytes:
    return _varint(field << 3 | 2) + _varint(len(content)) + content


def _text(field: int, text: str) -> bytes:
    return _message(field, text.encode())


def _varint(value: int) -> bytes:
    encoded = bytearray()
    while value > 0x7F:
        encoded.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*encoded, value])
