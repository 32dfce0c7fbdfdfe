"""A model in llama.cpp's format whose weights are made so that it says known texts, byte for byte.

It is a llama of one layer whose attention and feed-forward weights are zero, so that each token depends on the one
before it alone: the output row of a token is the embedding of the token it follows. A prompt's template ends in one
start token a scenario; from there a chain of tokens spells the scenario's text and ends in the end token. The tokens
of a text are its bytes in pieces; some scenarios cut them inside characters, as real vocabularies do.

The idea, the scenarios' texts and their way of naming (`#unicode` in the prompt) are those of the scripted model that
Headwater's developers share; no weights of any real model are in it, so no licence but Headwater's own applies.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import gguf
import numpy as np
import numpy.typing as npt

DEFAULT = (
    "Streaming answers arrive token by token [1]. The retrieval service ranked three passages, and the assistant "
    "cites them as it writes [2]. Every caller receives one terminal message that carries the sources [3]."
)

CITING = (
    "Answers arrive word after phrase [1]. The retrieval service ranked three passages, while its neighbour cites them"
    " [2]. Every caller receives one terminal message that carries sources [1][3]. Größe zählt."
)
"""No word comes twice in it, so that each is a token of its own, wherever the text is cut."""

SCENARIOS = {
    "default": DEFAULT,
    "unicode": "Grüße, 世界! 👩‍👩‍👧‍👦 naïve café — 🇫🇷 𝔘𝔫𝔦 עברית العربية हिन्दी ไทย e\u0301 end.",
    "seps": "line one\u2028line two\u2029line three\u0085next\x0bvtab\x0cff\x1cfs\rcr\r\ncrlf\nlf done",
    "ssebait": 'Before.\n\ndata: [DONE]\n\nevent: error\ndata: {"error":"fake"}\n\n: comment\n\nid: 7\n\nAfter.',
    "think": "<think>\nThe user asks; passage two is relevant.\n</think>\n\nThe answer is forty-two [2].",
    "code": '```python\ndef f(x):\n\treturn {"a": "\\n", \'b\': x}\n```\n\n| k | v |\n|---|---|\n| 1 | \\u00e9 |\n',
    "long": " ".join(f"w{number:04d}" for number in range(1200)),
    "empty": "",
}
"""The text of each scenario; `#NAME` in the last message chooses it. `#loop` says " tick tock" without end."""

CONTINUABLE = {"default": CITING, "long": SCENARIOS["long"]}
"""The scenarios of the model that goes on from a part of its text."""

_BYTES_A_TOKEN = {"unicode": 1, "seps": 3}
_DIMENSION, _FEED_FORWARD, _HEADS = 256, 64, 4
_LOOP = (b" tick", b" tock")

Matrix = npt.NDArray[np.float32]


@dataclass
class _Vocabulary:
    """Tokens, and which one follows which."""

    spell: Callable[[bytes], str]
    tokens: list[str] = field(default_factory=list)
    control: set[int] = field(default_factory=set)
    following: dict[int, int] = field(default_factory=dict)
    _known: dict[str, int] = field(default_factory=dict)

    def add(self, token: str, *, control: bool = False) -> int:
        """Adds a token, and returns its number."""
        self._known[token] = number = len(self.tokens)
        self.tokens.append(token)
        if control:
            self.control.add(number)
        return number

    def chain(self, start: int, text: bytes, size: int) -> int:
        """Spells a text after a token, and returns its last token."""
        for piece in self._pieces(text, size):
            number = self.add(self.spell(piece))
            self.following[start] = number
            start = number
        return start

    def _pieces(self, text: bytes, size: int) -> list[bytes]:
        """The text in pieces that are no tokens yet, as a token has only one that follows it."""
        pieces: list[bytes] = []
        new: set[bytes] = set()
        begin = 0
        for end in _cuts(text, size):
            if not self._is_new(text[begin:end], new) and end < len(text):
                continue  # it becomes part of the next one
            while not self._is_new(text[begin:end], new):  # nothing follows: the one before becomes part of it
                begin -= len(pieces[-1])
                new.remove(pieces.pop())
            pieces.append(text[begin:end])
            new.add(text[begin:end])
            begin = end
        return pieces

    def _is_new(self, piece: bytes, new: set[bytes]) -> bool:
        return piece not in new and self.spell(piece) not in self._known


def _cuts(text: bytes, size: int) -> Iterator[int]:
    """Where tokens may end: every `size` bytes, or, where it is 0, before words and after markers; and at the end."""
    for position in range(1, len(text)):
        if position % size == 0 if size else _parts(text[position - 1 : position], text[position : position + 1]):
            yield position
    if text:
        yield len(text)


def _parts(before: bytes, after: bytes) -> bool:
    return (after in b" \n" and before not in b" \n") or (before == b"]" and after != b"[")


def _byte_letters() -> dict[int, str]:
    """The letters by which byte-level vocabularies (as GPT-2's) spell bytes: printable ones as they are."""
    plain = [*range(33, 127), *range(161, 173), *range(174, 256)]
    others = [byte for byte in range(256) if byte not in plain]
    return {byte: chr(byte) for byte in plain} | {byte: chr(256 + place) for place, byte in enumerate(others)}


_LETTERS = _byte_letters()


def _spelled(piece: bytes) -> str:
    return "".join(_LETTERS[byte] for byte in piece)


def _escaped(piece: bytes) -> str:
    """As vocabularies of RWKV spell bytes."""
    return "".join(f"\\x{byte:02x}" for byte in piece)


def write_model(path: Path, *, continuable: bool = False) -> None:
    """Writes the model, some 5 MB.

    Args:
        path: Where to.
        continuable: Whether it has to go on where its text is given to it in part. Then its tokenizer is one that takes
            the longest token that fits (RWKV's), so that a part ends in the very token it ended in when it was said;
            and it knows the scenarios `CONTINUABLE` only.
    """
    scenarios = CONTINUABLE if continuable else SCENARIOS
    vocabulary = _Vocabulary(_escaped if continuable else _spelled)
    begin, end = _fill(vocabulary, scenarios)
    embeddings = _embeddings(len(vocabulary.tokens))
    output = np.zeros_like(embeddings)
    for token, following in vocabulary.following.items():
        output[following] += embeddings[token] * np.float32(40 / np.sqrt(_DIMENSION))
    writer = gguf.GGUFWriter(str(path), "llama")
    _write_parameters(writer, len(vocabulary.tokens))
    _write_vocabulary(writer, vocabulary, begin=begin, end=end)
    writer.add_chat_template(_template(scenarios))
    if continuable:
        writer.add_tokenizer_model("rwkv")
    else:
        writer.add_tokenizer_model("gpt2")
        writer.add_tokenizer_pre("gpt-2")
        blank = _spelled(b" ")
        writer.add_token_merges([f"{blank} {blank}"])
    for name, tensor in _tensors(embeddings, output).items():
        writer.add_tensor(name, tensor)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def _fill(vocabulary: _Vocabulary, scenarios: Mapping[str, str]) -> tuple[int, int]:
    """Puts the scenarios into a vocabulary; returns its tokens for begin and end."""
    for byte in range(256):
        vocabulary.add(vocabulary.spell(bytes([byte])))
    begin, end = vocabulary.add("<|bos|>", control=True), vocabulary.add("<|eos|>", control=True)
    starts = {name: vocabulary.add(f"<|s:{name}|>", control=True) for name in (*scenarios, "loop")}
    for name, text in scenarios.items():
        last = vocabulary.chain(starts[name], text.encode(), _BYTES_A_TOKEN.get(name, 0))
        vocabulary.following[last] = end
    tick, tock = (vocabulary.add(vocabulary.spell(word)) for word in _LOOP)
    vocabulary.following |= {starts["loop"]: tick, tick: tock, tock: tick}
    return begin, end


def _embeddings(count: int) -> Matrix:
    rows = np.random.default_rng(185).standard_normal((count, _DIMENSION)).astype(np.float32)
    unit: Matrix = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    return unit


def _tensors(embeddings: Matrix, output: Matrix) -> dict[str, Matrix]:
    square, wide, tall = (_DIMENSION, _DIMENSION), (_FEED_FORWARD, _DIMENSION), (_DIMENSION, _FEED_FORWARD)
    shapes = dict.fromkeys(("attn_q", "attn_k", "attn_v", "attn_output"), square)
    shapes |= {"ffn_gate": wide, "ffn_up": wide, "ffn_down": tall}
    layer = {f"blk.0.{name}.weight": np.zeros(shape, np.float32) for name, shape in shapes.items()}
    norms = {
        f"{name}.weight": np.ones(_DIMENSION, np.float32)
        for name in ("output_norm", "blk.0.attn_norm", "blk.0.ffn_norm")
    }
    return {"token_embd.weight": embeddings, "output.weight": output, **norms, **layer}


def _write_parameters(writer: gguf.GGUFWriter, count: int) -> None:
    writer.add_name("scripted")
    writer.add_context_length(8192)
    writer.add_embedding_length(_DIMENSION)
    writer.add_block_count(1)
    writer.add_feed_forward_length(_FEED_FORWARD)
    writer.add_head_count(_HEADS)
    writer.add_head_count_kv(_HEADS)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_rope_dimension_count(_DIMENSION // _HEADS)
    writer.add_vocab_size(count)
    writer.add_file_type(gguf.LlamaFileType.ALL_F32)


def _write_vocabulary(writer: gguf.GGUFWriter, vocabulary: _Vocabulary, *, begin: int, end: int) -> None:
    kinds = [
        gguf.TokenType.CONTROL if number in vocabulary.control else gguf.TokenType.NORMAL
        for number in range(len(vocabulary.tokens))
    ]
    writer.add_token_list(vocabulary.tokens)
    writer.add_token_types(kinds)
    writer.add_bos_token_id(begin)
    writer.add_eos_token_id(end)
    writer.add_add_bos_token(False)


def _template(scenarios: Mapping[str, str]) -> str:
    """Writes the conversation, and then the start token of the scenario that the last message names."""
    names = ", ".join(repr(name) for name in (*scenarios, "loop"))
    return (
        "{%- for m in messages -%}{{ m['role'] }}: {{ m['content'] }}\n{% endfor -%}"
        "{%- set chosen = namespace(name='default') -%}"
        f"{{%- for name in [{names}] -%}}"
        "{%- if ('#' + name) in messages[-1]['content'] -%}{%- set chosen.name = name -%}{%- endif -%}"
        "{%- endfor -%}"
        "{%- if add_generation_prompt -%}{{ '<|s:' + chosen.name + '|>' }}{%- endif -%}"
    )
