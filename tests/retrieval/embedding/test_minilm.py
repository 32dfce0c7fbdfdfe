"""The built-in embedder, with the shipped model."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import headwater_minilm
from headwater_server.retrieval.embedding import Embedder, EmbedderUnavailable, MiniLmEmbedder, Vectors

REFERENCES = json.loads(Path(__file__).with_name("references.json").read_text(encoding="utf-8"))
TEXTS: list[str] = [entry["text"] for entry in REFERENCES]
FP32: Vectors = np.array([entry["vector"] for entry in REFERENCES], dtype=np.float32)

# Made once: the embedder holds nothing between calls, and hypothesis takes no function-scoped fixtures.
EMBEDDER = MiniLmEmbedder()


def cosine_to_query(query: str, document: str) -> float:
    return float(EMBEDDER.embed_query(query) @ EMBEDDER.embed_documents([document])[0])


def test_it_is_an_embedder() -> None:
    embedder: Embedder = EMBEDDER
    assert embedder.name == "all-MiniLM-L6-v2"
    assert embedder.dimension == 384
    assert embedder.fingerprint.isascii()
    assert len(embedder.fingerprint) <= 100


@pytest.mark.parametrize(
    ("path", "digest"),
    [
        (headwater_minilm.MODEL_PATH, headwater_minilm.MODEL_SHA256),
        (headwater_minilm.TOKENIZER_PATH, headwater_minilm.TOKENIZER_SHA256),
    ],
)
def test_the_shipped_files_are_those_the_package_names(path: Path, digest: str) -> None:
    assert hashlib.sha256(path.read_bytes()).hexdigest() == digest


@pytest.mark.parametrize("index", range(len(TEXTS)))
def test_int8_vectors_point_where_the_fp32_vectors_do(index: int) -> None:
    vector = EMBEDDER.embed_documents([TEXTS[index]])[0]
    assert float(vector @ FP32[index]) >= 0.99


def test_int8_keeps_the_fp32_likeness_of_every_pair_of_texts() -> None:
    vectors = EMBEDDER.embed_documents(TEXTS)
    np.testing.assert_allclose(vectors @ vectors.T, FP32 @ FP32.T, atol=0.03)


def test_a_vector_does_not_depend_on_its_neighbours() -> None:
    together = EMBEDDER.embed_documents(TEXTS)
    alone = np.concatenate([EMBEDDER.embed_documents([text]) for text in TEXTS])
    np.testing.assert_array_equal(together, alone)


def test_a_second_embedder_gives_the_same_vectors_to_the_bit() -> None:
    other = MiniLmEmbedder()
    assert other.fingerprint == EMBEDDER.fingerprint
    np.testing.assert_array_equal(other.embed_documents(TEXTS), EMBEDDER.embed_documents(TEXTS))


def test_several_threads_for_one_text_give_nearly_the_same_vectors() -> None:
    cosines = np.sum(MiniLmEmbedder(threads=2).embed_documents(TEXTS) * EMBEDDER.embed_documents(TEXTS), axis=1)
    assert cosines.min() >= 0.999


def test_calls_from_several_threads_at_once_do_not_disturb_each_other() -> None:
    expected = EMBEDDER.embed_documents(TEXTS)
    with ThreadPoolExecutor(max_workers=4) as pool:
        for vectors in pool.map(EMBEDDER.embed_documents, [TEXTS] * 8):
            np.testing.assert_array_equal(vectors, expected)


def test_a_question_is_embedded_like_a_passage() -> None:
    np.testing.assert_array_equal(EMBEDDER.embed_query(TEXTS[0]), EMBEDDER.embed_documents(TEXTS[:1])[0])


def test_no_texts_give_an_empty_array_of_the_right_width() -> None:
    vectors = EMBEDDER.embed_documents([])
    assert vectors.shape == (0, 384)
    assert vectors.dtype == np.float32


def test_white_space_is_embedded_like_the_empty_text() -> None:
    empty, blank = EMBEDDER.embed_documents(["", " \n\t\u3000 "])
    assert np.linalg.norm(empty) == pytest.approx(1, abs=1e-5)
    np.testing.assert_array_equal(empty, blank)


def test_what_follows_the_256th_word_piece_changes_nothing() -> None:
    start = "water " * 254  # with [CLS] and [SEP] 256 pieces
    whole, longer, huge, shorter = EMBEDDER.embed_documents(
        [start, start + "engine", start + "engine " * 200_000, start.removesuffix("water ")]
    )
    np.testing.assert_array_equal(whole, longer)
    np.testing.assert_array_equal(whole, huge)
    assert not np.array_equal(whole, shorter)


@settings(max_examples=40, deadline=None)
@given(st.text(max_size=400))
def test_any_text_has_a_finite_vector_of_length_one(text: str) -> None:
    vectors = EMBEDDER.embed_documents([text])
    assert vectors.shape == (1, 384)
    assert vectors.dtype == np.float32
    assert np.linalg.norm(vectors[0]) == pytest.approx(1, abs=1e-5)


@pytest.mark.parametrize(
    ("query", "alike", "other"),
    [
        (
            "How can I get a refund?",
            "To have your money returned, send the item back within 30 days.",
            "Our offices are closed on public holidays.",
        ),
        (
            "What causes tides?",
            "The moon's gravity pulls the sea into two bulges.",
            "The recipe needs two eggs and a cup of flour.",
        ),
        (
            "A man is playing a guitar on stage.",
            "A musician performs with his instrument before an audience.",
            "The bond market fell after the central bank's decision.",
        ),
    ],
)
def test_what_means_the_same_is_nearer_than_what_does_not(query: str, alike: str, other: str) -> None:
    assert cosine_to_query(query, alike) > cosine_to_query(query, other) + 0.2


def test_case_and_accents_do_not_matter_to_this_model() -> None:
    plain, shouted = EMBEDDER.embed_documents(["a cafe in zurich", "A CAFÉ IN ZÜRICH"])
    np.testing.assert_array_equal(plain, shouted)


def test_a_lone_surrogate_is_refused_by_its_position() -> None:
    with pytest.raises(ValueError, match=r"texts\[1\] is not valid Unicode"):
        EMBEDDER.embed_documents(["good", "bad \ud800"])


def test_what_is_not_a_text_is_refused_by_its_position() -> None:
    with pytest.raises(TypeError, match=r"texts\[1\] is bytes, not str"):
        EMBEDDER.embed_documents(["good", b"bad"])  # type: ignore[list-item]  # the mistake under test


def test_one_text_instead_of_a_sequence_is_refused() -> None:
    with pytest.raises(TypeError, match="one str"):
        EMBEDDER.embed_documents("each letter would become a passage")


@pytest.mark.parametrize("threads", [0, -1])
def test_less_than_one_thread_is_refused(threads: int) -> None:
    with pytest.raises(ValueError, match="at least 1"):
        MiniLmEmbedder(threads=threads)


@pytest.mark.parametrize("name", ["MODEL_PATH", "TOKENIZER_PATH"])
def test_a_damaged_file_is_refused(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    content = bytearray(getattr(headwater_minilm, name).read_bytes())
    content[len(content) // 2] ^= 1
    damaged = tmp_path / "damaged"
    damaged.write_bytes(content)
    monkeypatch.setattr(headwater_minilm, name, damaged)
    with pytest.raises(EmbedderUnavailable, match=r"damaged.*install headwater-minilm again"):
        MiniLmEmbedder()


def test_a_missing_file_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(headwater_minilm, "MODEL_PATH", tmp_path / "gone.onnx")
    with pytest.raises(EmbedderUnavailable, match=r"gone\.onnx"):
        MiniLmEmbedder()


@pytest.mark.parametrize("module", ["onnxruntime", "tokenizers", "headwater_minilm"])
def test_a_missing_package_is_named_with_the_extra_to_install(module: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(EmbedderUnavailable, match=rf"{module}.*headwater\[serve\]"):
        MiniLmEmbedder()


def test_importing_the_package_does_not_import_its_engine() -> None:
    program = (
        "import sys, headwater_server.retrieval.embedding; "
        "print(sorted({'onnxruntime', 'tokenizers', 'headwater_minilm'} & set(sys.modules)))"
    )
    finished = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert finished.stdout == "[]\n"
