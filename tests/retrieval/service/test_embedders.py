from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from headwater.v1 import document_pb2, source_pb2
from headwater.v1 import retrieval_service_pb2 as pb
from headwater_server.errors import InvalidRequest, PreconditionFailed, Reason, ServiceError
from headwater_server.outgoing.retrying import RetryPolicy
from headwater_server.retrieval.embedding import BUILTIN_EMBEDDER, EmbeddingConfig, NamedEmbedder, remote
from headwater_server.retrieval.jobs import runner
from headwater_server.retrieval.service import RetrievalCore
from tests.retrieval.embedding.embedding_server import EmbeddingServer, Refusal, embedding_server
from tests.retrieval.service.support import (
    FAILED,
    ME,
    READY,
    create_document,
    ended,
    get_document,
    header,
    import_events,
    import_text,
    serving,
    sources,
    until,
)

pytestmark = pytest.mark.anyio

AT_ONCE = RetryPolicy(attempts=2, first_delay=0.01, longest_delay=0.05)


@pytest.fixture(autouse=True)
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Lets nothing wait long before it is tried again."""
    monkeypatch.setattr(remote, "DOCUMENT_RETRIES", AT_ONCE)
    monkeypatch.setattr(remote, "QUERY_RETRIES", AT_ONCE)
    monkeypatch.setattr(runner, "_FIRST_DELAY", 0.05)


@asynccontextmanager
async def serving_with(folder: Path, *servers: EmbeddingServer, **table: Any) -> AsyncGenerator[RetrievalCore]:
    """A service with the embedders `e0/…`, `e1/…` of these servers."""
    tables = {
        f"e{number}": NamedEmbedder(api="openai", base_url=server.url, **table) for number, server in enumerate(servers)
    }
    async with serving(folder, embedding=EmbeddingConfig(embedders=tables, environ={})) as core:
        yield core


async def create(core: RetrievalCore, corpus_id: str, **corpus: Any) -> document_pb2.Corpus:
    request = pb.CreateCorpusRequest(corpus_id=corpus_id, corpus=document_pb2.Corpus(**corpus))
    return await core.create_corpus(request, ME)


async def test_a_corpus_remembers_its_embedder_and_uses_no_other(tmp_path: Path) -> None:
    async with embedding_server() as server, serving_with(tmp_path, server) as core:
        made = await create(core, "there", embedder="e0/small")
        assert made.embedder == "e0/small"
        document = await import_text(core, "The bell rings at noon.", "bell", corpus="there")
        assert (document.state, document.passage_count) == (READY, 1)
        (source,) = await sources(core, "The bell rings at noon.", "there", mode=source_pb2.RETRIEVAL_MODE_DENSE)
        assert source.cosine == pytest.approx(1.0, abs=1e-5)
        asked = server.texts
        await import_text(core, "Elsewhere.", "x")
        await sources(core, "bell")
        assert server.texts == asked  # the corpus `default` has the built-in one
        assert (await core.get_corpus(pb.GetCorpusRequest(name="corpora/default"), ME)).embedder == BUILTIN_EMBEDDER
    assert [text for texts in asked for text in texts][1:] == ["The bell rings at noon."] * 2


async def test_the_server_s_default_is_what_new_corpora_have(tmp_path: Path) -> None:
    async with embedding_server() as server:
        table = NamedEmbedder(api="openai", base_url=server.url)
        embedding = EmbeddingConfig(default="mine/m", embedders={"mine": table}, environ={})
        async with serving(tmp_path, embedding=embedding) as core:
            assert (await create(core, "x")).embedder == "mine/m"
            assert (await import_text(core, "Hello.", "d")).state == READY
            assert (await core.get_corpus(pb.GetCorpusRequest(name="corpora/default"), ME)).embedder == "mine/m"


async def test_the_progress_of_a_long_document_is_told_in_steps(tmp_path: Path) -> None:
    async with embedding_server() as server, serving_with(tmp_path, server, batch_texts=2) as core:
        splitting = document_pb2.SplittingOptions(max_characters=50)
        await create(core, "there", embedder="e0/m", splitting=splitting)
        content = " ".join(f"Room {number} has {number} chairs and a table." for number in range(12)).encode()
        events = await import_events(core, header(content, "d", corpus="there"), content)
        assert events[-1].document.state == READY
        assert events[-1].document.passage_count >= 12
        stages = [event.progress.stage for event in events if event.WhichOneof("event") == "progress"]
        assert stages == sorted(stages)
        assert document_pb2.DOCUMENT_STAGE_EMBEDDED in stages


async def test_an_embedder_that_there_is_not_is_refused(tmp_path: Path) -> None:
    async with serving(tmp_path) as core:
        with pytest.raises(InvalidRequest) as refused:
            await create(core, "x", embedder="nobody/m")
    assert refused.value.violations[0].field == "corpus.embedder"


async def test_a_corpus_whose_model_the_server_refuses_is_not_made(tmp_path: Path) -> None:
    async with embedding_server(always=Refusal(404)) as server, serving_with(tmp_path, server) as core:
        with pytest.raises(ServiceError) as refused:
            await create(core, "x", embedder="e0/m")
        assert refused.value.reason is Reason.PROVIDER_REJECTED
        assert (await core.list_corpora(pb.ListCorporaRequest(), ME)).corpora == []


async def test_without_its_embedder_a_corpus_is_neither_filled_nor_searched_by_meaning(tmp_path: Path) -> None:
    async with embedding_server() as server, serving_with(tmp_path, server) as core:
        await create(core, "there", embedder="e0/m")
        await import_text(core, "The bell rings at noon.", "bell", corpus="there")
    async with serving(tmp_path) as core:
        with pytest.raises(PreconditionFailed, match="has the embedder e0/m: this server has no embedder 'e0/m'"):
            await sources(core, "bell", "there")
        with pytest.raises(PreconditionFailed, match="ReembedCorpus"):
            await import_text(core, "More.", "more", corpus="there")
        assert len(await sources(core, "bell", "there", mode=source_pb2.RETRIEVAL_MODE_LEXICAL)) == 1


async def test_an_embedder_that_is_set_otherwise_is_not_mixed_in(tmp_path: Path) -> None:
    async with embedding_server() as server, serving_with(tmp_path, server) as core:
        await create(core, "there", embedder="e0/m")
    async with embedding_server() as server, serving_with(tmp_path, server, query_prefix="query: ") as core:
        with pytest.raises(PreconditionFailed, match="cannot be compared"):
            await sources(core, "bell", "there")


async def test_another_dimension_than_the_corpus_has_is_refused(tmp_path: Path) -> None:
    async with embedding_server() as server, serving_with(tmp_path, server) as core:
        await create(core, "there", embedder="e0/m")
        server.dimension = 16  # the model was changed under its name
        document = await import_text(core, "The bell rings at noon.", "bell", corpus="there")
        assert document.state == FAILED
        assert "vectors of 16 components where 8 were expected" in document.error.message
        with pytest.raises(ServiceError) as refused:
            await sources(core, "bell", "there")
        assert refused.value.reason is Reason.PROVIDER_PROTOCOL


async def test_a_server_that_fails_delays_documents_and_fails_none(tmp_path: Path) -> None:
    async with embedding_server() as server, serving_with(tmp_path, server) as core:
        await create(core, "there", embedder="e0/m")
        server.always = Refusal(503)
        made = await create_document(core, "The bell rings at noon.", "bell", corpus="there")
        others = [await create_document(core, f"Bell {number}.", f"d{number}", corpus="there") for number in range(5)]
        await until(lambda: len(server.requests) >= 8)
        assert (await import_text(core, "Elsewhere.", "d")).state == READY  # nobody else waits
        assert (await get_document(core, made.name)).state != FAILED
        server.always = None
        for document in (made, *others):
            assert (await ended(core, document.name)).state == READY


async def test_a_text_that_the_server_refuses_fails_its_document_and_no_other(tmp_path: Path) -> None:
    async with embedding_server(refuses=lambda text: "taste" in text) as server, serving_with(tmp_path, server) as core:
        await create(core, "there", embedder="e0/m")
        refused = await import_text(core, "A matter of taste.", "taste", corpus="there")
        taken = await import_text(core, "A matter of fact.", "fact", corpus="there")
        assert (refused.state, taken.state) == (FAILED, READY)
        assert "input is not to my taste" in refused.error.message


async def test_corpora_of_different_embedders_are_searched_together_by_rank(tmp_path: Path) -> None:
    async with (
        embedding_server() as one,
        embedding_server(dimension=12) as other,
        serving_with(tmp_path, one, other) as core,
    ):
        await create(core, "c0", embedder="e0/m")
        await create(core, "c1", embedder="e1/m")
        texts = {
            "bell": "The bell of the harbour rings at noon.",
            "leave": "Everyone has thirty days of leave a year.",
            "tide": "Low water comes six hours after high water.",
        }
        for corpus in ("c0", "c1", "default"):
            for name, text in texts.items():
                await import_text(core, text if corpus == "c0" else f"{text} So says {corpus}.", name, corpus=corpus)
        found = await sources(core, texts["bell"], "c0", "default", "c1", mode=source_pb2.RETRIEVAL_MODE_DENSE)
        assert found[0].document == "corpora/c0/documents/bell"
        assert found[0].cosine == pytest.approx(1.0, abs=1e-5)
        assert {source.document.split("/")[1] for source in found[:3]} == {"c0", "c1", "default"}
        assert [source.rank for source in found] == list(range(1, len(found) + 1))
        assert [source.score for source in found] == sorted((source.score for source in found), reverse=True)
        both = await sources(core, texts["bell"], "c0", "c1")
        assert {source.document.split("/")[1] for source in both} == {"c0", "c1"}
        other.always = Refusal(400)
        with pytest.raises(ServiceError):
            await sources(core, texts["bell"], "c0", "c1")


async def test_passages_are_as_long_as_the_corpus_wants_them(tmp_path: Path) -> None:
    text = " ".join(f"Sentence number {number} stands here." for number in range(40))
    async with serving(tmp_path) as core:
        splitting = document_pb2.SplittingOptions(max_characters=100, overlap_characters=0)
        made = await create(core, "short", splitting=splitting, language="en")
        assert made.splitting == splitting
        assert made.language == "en"
        short = await import_text(core, text, "d", corpus="short")
        await create(core, "long")
        long = await import_text(core, text, "d", corpus="long")
        assert short.passage_count > 2 * long.passage_count
        changed = pb.UpdateCorpusRequest(
            corpus=document_pb2.Corpus(
                name="corpora/short",
                splitting=document_pb2.SplittingOptions(max_characters=300, overlap_characters=50),
                language="de",
            )
        )
        updated = await core.update_corpus(changed, ME)
        assert (updated.splitting.max_characters, updated.splitting.overlap_characters) == (300, 50)
        assert updated.language == "de"
        later = await import_text(core, text + " And one.", "later", corpus="short")
        assert later.passage_count < short.passage_count
        back = pb.UpdateCorpusRequest(corpus=document_pb2.Corpus(name="corpora/short"))
        back.update_mask.paths.extend(["splitting", "language"])
        reset = await core.update_corpus(back, ME)
        assert not reset.HasField("splitting")
        assert reset.language == ""


@pytest.mark.parametrize(
    ("splitting", "refused"),
    [
        ({"max_characters": 100, "overlap_characters": 51}, True),
        ({"max_characters": 100, "overlap_characters": 50}, False),
        ({"overlap_characters": 501}, True),
        ({"overlap_characters": 500}, False),
    ],
)
async def test_an_overlap_is_at_most_half_of_a_passage(
    tmp_path: Path, splitting: dict[str, int], refused: bool
) -> None:
    async with serving(tmp_path) as core:
        wanted = document_pb2.SplittingOptions(**splitting)
        if refused:
            with pytest.raises(InvalidRequest, match="at most half"):
                await create(core, "x", splitting=wanted)
        else:
            assert (await create(core, "x", splitting=wanted)).splitting == wanted


async def test_the_embedder_cannot_be_updated(tmp_path: Path) -> None:
    async with serving(tmp_path) as core:
        await create(core, "x")
        request = pb.UpdateCorpusRequest(corpus=document_pb2.Corpus(name="corpora/x", embedder="e0/m"))
        request.update_mask.paths.append("embedder")
        with pytest.raises(InvalidRequest, match="'embedder' cannot be updated"):
            await core.update_corpus(request, ME)
