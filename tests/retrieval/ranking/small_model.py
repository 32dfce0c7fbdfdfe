"""A cross-encoder of a few bytes: its score is the sum of the ids of the tokens that its mask leaves.

ONNX is protobuf (`onnx.proto` at github.com/onnx/onnx); the few fields needed are written here by hand.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import Whitespace
from tokenizers.processors import TemplateProcessing

_FLOAT, _INT64 = 1, 7
_INT, _INTS = 2, 7  # kinds of attributes


def write_model(folder: Path, vocabulary: Mapping[str, int]) -> None:
    """Writes `model.onnx` and `tokenizer.json`; words that are not in the vocabulary are the token 1."""
    folder.mkdir(parents=True)
    tokenizer = Tokenizer(WordLevel({"[PAD]": 0, "[UNK]": 1, "[SEP]": 2, **vocabulary}, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = Whitespace()
    tokenizer.post_processor = TemplateProcessing(
        single="$A [SEP]", pair="$A [SEP] $B:1 [SEP]:1", special_tokens=[("[SEP]", 2)]
    )
    tokenizer.save(str(folder / "tokenizer.json"))
    (folder / "model.onnx").write_bytes(_model())


def _model() -> bytes:
    nodes = [
        _node("Mul", ["input_ids", "attention_mask"], "left"),
        _node("Cast", ["left"], "numbers", _text(1, "to") + _number(3, _FLOAT) + _number(20, _INT)),
        _node("ReduceSum", ["numbers"], "logits", _text(1, "axes") + _number(8, 1) + _number(20, _INTS)),
    ]
    graph = b"".join(_message(1, node) for node in nodes) + _text(2, "sum")
    for name in ("input_ids", "attention_mask"):
        graph += _message(11, _value(name, _INT64))
    graph += _message(12, _value("logits", _FLOAT))
    return _number(1, 6) + _message(7, graph) + _message(8, _text(1, "") + _number(2, 11))


def _node(operator: str, inputs: list[str], output: str, attribute: bytes = b"") -> bytes:
    node = b"".join(_text(1, each) for each in inputs) + _text(2, output) + _text(4, operator)
    return node + (_message(5, attribute) if attribute else b"")


def _value(name: str, kind: int) -> bytes:
    shape = b"".join(_message(1, _text(2, size)) for size in ("pairs", f"tokens of {name}"))
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
