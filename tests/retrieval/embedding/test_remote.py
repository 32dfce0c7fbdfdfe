from __future__ import annotations

import json
import logging
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any

import anyio
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_allclose

from headwater_server.errors import Reason, ServiceError
from headwater_server.outgoing.retrying import RetryPolicy
from headwater_server.retrieval.embedding import MiniLmEmbedder, NamedEmbedder, remote
from headwater_server.retrieval.embedding.apis.gemini import GeminiApi
from headwater_server.retrieval.embedding.batching import batches, estimated_tokens
from headwater_server.retrieval.embedding.config import EmbeddingConfig
from headwater_server.retrieval.embedding.protocol import AsyncEmbedder
from headwater_server.retrieval.embedding.registry import Embedders
from tests.retrieval.embedding.embedding_server import DIMENSION, Refusal, embedding_server

pytestmark = pytest.mark.anyio

KEY = "sk-canary-77aa00bb11"
APIS = ("openai", "ollama", "tei", "cohere", "gemini")
AT_ONCE = RetryPolicy(attempts=3, first_delay=0.01, longest_delay=0.05)


@pytest.fixture(autouse=True)
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Lets nothing wait long before it is tried again."""
    monkeypatch.setattr(remote, "DOCUMENT_RETRIES", AT_ONCE)
    monkeypatch.setattr(remote, "QUERY_RETRIES", AT_ONCE)


@asynccontextmanager
async def embedder_at(
    url: str, *, api: str = "openai", model: str = "m", **table: Any
) -> AsyncGenerator[AsyncEmbedder]:
    settings = NamedEmbedder(api=api, base_url=url, api_key=KEY, **table)
    embedders = Embedders(EmbeddingConfig(embedders={"there": settings}, environ={}), make_builtin=MiniLmEmbedder)
    try:
        yield embedders.get(f"there/{model}")
    finally:
        await embedders.aclose()


def unit(vectors: list[list[float]]) -> Any:
    array = np.array(vectors)
    return array / np.linalg.norm(array, axis=1, keepdims=True)


@pytest.mark.parametrize("api", APIS)
async def test_every_api_gives_vectors_of_length_one_in_the_order_of_the_texts(api: str) -> None:
    texts = [f"text {number}" for number in range(250)]
    async with embedding_server() as server, embedder_at(server.url, api=api) as embedder:
        vectors = await embedder.embed_documents(texts)
        query = await embedder.embed_query("a question")
        assert await embedder.dimension() == DIMENSION
    assert vectors.dtype == query.dtype == np.float32
    assert_allclose(vectors, unit([server.vector(text) for text in texts]), atol=1e-6)
    assert_allclose(query, unit([server.vector("a question")])[0], atol=1e-6)


@pytest.mark.parametrize(
    ("api", "path", "header", "most"),
    [
        ("openai", "/embeddings", "authorization", 2048),
        ("ollama", "/api/embed", "authorization", 64),
        ("tei", "/embed", "authorization", 32),
        ("cohere", "/v2/embed", "authorization", 96),
        ("gemini", "/v1beta/models/m:batchEmbedContents", "x-goog-api-key", 100),
    ],
)
async def test_requests_are_as_the_api_has_them(api: str, path: str, header: str, most: int) -> None:
    async with embedding_server() as server, embedder_at(server.url, api=api, dimension=DIMENSION) as embedder:
        await embedder.embed_documents(["x"] * 250)
    assert {request[0] for request in server.requests} == {path}
    assert all(KEY in headers[header] for _, headers, _ in server.requests)
    sizes = [len(texts) for texts in server.texts]
    assert sum(sizes) == 250
    assert max(sizes) == min(most, 250)
    assert str(DIMENSION) in json.dumps(server.requests[0][2])  # each calls it by another name


@pytest.mark.parametrize(
    ("model", "path"),
    [
        ("m", "models/m"),
        ("tunedModels/m", "tunedModels/m"),
        ("../v1/models/x:generateContent?a=", "..%2Fv1%2Fmodels/x%3AgenerateContent%3Fa%3D"),
        ("m#", "models/m%23"),
    ],
)
def test_a_models_name_cannot_leave_its_place_in_the_url(model: str, path: str) -> None:
    assert GeminiApi().path(model) == f"/v1beta/{path}:batchEmbedContents"


async def test_cohere_and_gemini_are_told_what_a_text_is_for() -> None:
    async with embedding_server() as server, embedder_at(server.url, api="cohere") as embedder:
        await embedder.embed_documents(["a"])
        await embedder.embed_query("b")
    assert [body["input_type"] for _, _, body in server.requests] == ["search_document", "search_query"]
    async with embedding_server() as server, embedder_at(server.url, api="gemini") as embedder:
        await embedder.embed_documents(["a"])
        await embedder.embed_query("b")
    kinds = [body["requests"][0]["taskType"] for _, _, body in server.requests]
    assert kinds == ["RETRIEVAL_DOCUMENT", "RETRIEVAL_QUERY"]


async def test_prefixes_stand_before_questions_and_passages() -> None:
    prefixes = {"query_prefix": "query: ", "document_prefix": "passage: "}
    async with embedding_server() as server, embedder_at(server.url, **prefixes) as embedder:
        await embedder.embed_documents(["a"])
        await embedder.embed_query("b")
    assert server.texts == [["passage: a"], ["query: b"]]


async def test_long_texts_are_cut_and_empty_ones_are_sent_as_something() -> None:
    async with embedding_server() as server, embedder_at(server.url, max_characters=100) as embedder:
        await embedder.embed_documents(["x" * 1000, " "])
    assert server.texts == [["x" * 100, "-"]]


async def test_no_texts_need_no_request_where_the_dimension_is_known() -> None:
    async with embedding_server() as server, embedder_at(server.url, dimension=5) as embedder:
        assert (await embedder.embed_documents([])).shape == (0, 5)
    assert server.requests == []


async def test_requests_for_passages_run_at_the_same_time_but_not_too_many() -> None:
    done: list[int] = []
    async with (
        embedding_server(delay=0.05) as server,
        embedder_at(server.url, batch_texts=2, concurrency=3) as embedder,
    ):
        await embedder.embed_documents([f"{number}" for number in range(20)], embedded=done.append)
    assert server.most == 3
    assert done == [2] * 10


@pytest.mark.parametrize("status", [429, 500, 503])
async def test_what_may_be_gone_in_a_moment_is_tried_again(status: int) -> None:
    async with embedding_server() as server, embedder_at(server.url) as embedder:
        server.refusals = [Refusal(status), Refusal(status)]
        await embedder.embed_documents(["a"])
        assert len(server.requests) == 3
        server.refusals = [Refusal(status)] * 3
        with pytest.raises(ServiceError) as raised:
            await embedder.embed_documents(["a"])
    assert raised.value.reason in {Reason.PROVIDER_RATE_LIMITED, Reason.PROVIDER_UNAVAILABLE}


async def test_a_server_that_asks_for_more_time_than_there_is_gets_no_second_call() -> None:
    async with embedding_server() as server, embedder_at(server.url) as embedder:
        server.refusals = [Refusal(429, {"retry-after": "600"})]
        with pytest.raises(ServiceError) as raised:
            await embedder.embed_documents(["a"])
        assert len(server.requests) == 1
    assert raised.value.retry_after == 600


@pytest.mark.parametrize(("status", "reason"), [(400, "REJECTED"), (401, "UNAUTHENTICATED"), (404, "REJECTED")])
async def test_what_would_fail_again_is_not_tried_again(status: int, reason: str) -> None:
    async with embedding_server() as server, embedder_at(server.url, batch_texts=1) as embedder:
        server.always = Refusal(status)
        with pytest.raises(ServiceError) as raised:
            await embedder.embed_documents(["a"])
        assert len(server.requests) == 1
    assert raised.value.reason == f"PROVIDER_{reason}"


def _with_first(value: object) -> Any:
    def change(answer: Any) -> Any:
        answer["data"][0]["embedding"] = value
        return answer

    return change


@pytest.mark.parametrize(
    "change",
    [
        lambda _: [],
        lambda _: {},
        lambda _: {"data": {}},
        lambda answer: {"data": answer["data"][:1]},
        lambda answer: {"data": [{**item, "index": 0} for item in answer["data"]]},
        lambda answer: {"data": [{**item, "index": "0"} for item in answer["data"]]},
        lambda answer: {"data": [{"index": item["index"]} for item in answer["data"]]},
        _with_first([1.0] * (DIMENSION - 1)),
        _with_first([0.0] * DIMENSION),
        _with_first([float("nan")] * DIMENSION),
        _with_first([float("inf")] * DIMENSION),
        _with_first([10**400] * DIMENSION),
        _with_first(["1"] * DIMENSION),
        _with_first([None] * DIMENSION),
        _with_first("AAAA"),
        _with_first([]),
        lambda _: b"<html>",
    ],
)
async def test_answers_that_are_no_embeddings_are_a_broken_protocol(change: Any) -> None:
    async with embedding_server(change=change) as server, embedder_at(server.url) as embedder:
        with pytest.raises(ServiceError) as raised:
            await embedder.embed_documents(["a", "b"])
    assert raised.value.reason is Reason.PROVIDER_PROTOCOL


async def test_another_dimension_than_was_set_is_refused() -> None:
    async with embedding_server() as server, embedder_at(server.url, dimension=DIMENSION + 1) as embedder:
        with pytest.raises(ServiceError) as raised:
            await embedder.embed_query("a")
    assert raised.value.reason is Reason.PROVIDER_PROTOCOL
    assert f"vectors of {DIMENSION} components where {DIMENSION + 1} were expected" in raised.value.message


async def test_a_lone_surrogate_is_the_caller_s_fault() -> None:
    async with embedding_server() as server, embedder_at(server.url) as embedder:
        with pytest.raises(ValueError, match="surrogate"):
            await embedder.embed_documents(["a", "\ud800"])
    assert server.requests == []


async def test_a_server_that_says_nothing_is_given_up() -> None:
    async with embedding_server(delay=30) as server, embedder_at(server.url, timeout=0.1) as embedder:
        with anyio.fail_after(10), pytest.raises(ServiceError) as raised:
            await embedder.embed_query("a")
    assert raised.value.reason is Reason.PROVIDER_UNAVAILABLE


async def test_the_key_is_in_no_error_no_log_and_no_repr(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    table = NamedEmbedder(api="openai", api_key=KEY, base_url=f"http://x/{KEY}")
    assert KEY not in repr(table)
    async with embedding_server() as server, embedder_at(server.url) as embedder:
        for status in (400, 401, 429, 500):
            server.always = Refusal(status, body={"error": {"message": f"your key {KEY} at {server.url}"}})
            with pytest.raises(ServiceError) as raised:
                await embedder.embed_documents(["a"])
            assert KEY not in repr(vars(raised.value)) + str(raised.value)
        assert KEY not in repr(embedder)
    assert KEY not in caplog.text


async def test_a_fingerprint_says_which_vectors_can_be_compared() -> None:
    async def fingerprint(model: str = "m", **table: Any) -> str:
        async with embedder_at("http://nobody.invalid", model=model, **table) as embedder:
            return await embedder.fingerprint()

    plain = await fingerprint()
    assert plain == await fingerprint(concurrency=9, timeout=1)
    others = [
        await fingerprint("other"),
        await fingerprint(api="tei"),
        await fingerprint(dimension=3),
        await fingerprint(query_prefix="query: "),
        await fingerprint(document_prefix="query: "),
        await fingerprint("é" * 100),
    ]
    assert len({plain, *others}) == 7
    assert all(len(each) <= 100 and each.isascii() for each in (plain, *others))


@given(
    texts=st.lists(st.text(max_size=40), max_size=60),
    max_texts=st.integers(1, 20),
    max_tokens=st.integers(1, 60),
)
async def test_batches_hold_every_text_once_in_order_within_the_limits(
    texts: list[str], max_texts: int, max_tokens: int
) -> None:
    found = list(batches(texts, max_texts=max_texts, max_tokens=max_tokens))
    assert [position for batch in found for position in batch] == list(range(len(texts)))
    for batch in found:
        assert 1 <= len(batch) <= max_texts
        assert len(batch) == 1 or sum(estimated_tokens(texts[position]) for position in batch) <= max_tokens
