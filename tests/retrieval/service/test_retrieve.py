from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headwater.v1 import filter_pb2, source_pb2
from headwater_server.errors import InvalidRequest, ResourceNotFound
from headwater_server.retrieval.calls.retrieving import batches, within_budget
from headwater_server.retrieval.calls.wire import location_message, source_message
from headwater_server.retrieval.model import Location
from headwater_server.retrieval.ranking.config import NamedReranker, RerankingConfig
from headwater_server.retrieval.service import RetrievalCore
from headwater_server.retrieval.store.protocol import CorpusKey, DocumentRecord, Hit
from tests.assistant.fake_provider import Canned, fake_provider
from tests.retrieval.service.support import create_corpus, import_text, retrieve, serving, sources, string

pytestmark = pytest.mark.anyio

TEXTS = {
    "leave": "Every employee has thirty days of paid leave a year.",
    "door": "The front door of the office is painted green.",
    "lunch": "The canteen serves lunch from noon until two.",
}


async def import_all(core: RetrievalCore, corpus: str = "default") -> None:
    for document_id, text in TEXTS.items():
        await import_text(core, text, document_id, corpus=corpus, metadata={"topic": string(document_id)})


async def test_the_best_passage_comes_first_with_all_that_is_known_of_it(core: RetrievalCore) -> None:
    await import_text(core, f"# Rules\n\n## Leave\n\n{TEXTS['leave']}", "leave", uri="leave.md")
    await import_text(core, TEXTS["door"], "door")
    (response,) = await retrieve(core, "how many days of leave does an employee have?")
    first, second = response.sources
    assert first.document == "corpora/default/documents/leave"
    assert first.passage.startswith("corpora/default/documents/leave/passages/")
    assert (first.title, first.uri) == ("Rules", "leave.md")
    assert TEXTS["leave"] in first.content
    assert first.location.line_range.last == 5
    assert (first.rank, second.rank) == (1, 2)
    assert first.score >= second.score
    assert first.cosine > second.cosine
    assert first.id == ""
    assert response.HasField("statistics")
    assert response.statistics.mode == source_pb2.RETRIEVAL_MODE_HYBRID
    assert response.statistics.candidates == 2
    assert response.statistics.index_current
    assert response.statistics.embedding_time.ToNanoseconds() > 0


@pytest.mark.parametrize("mode", [source_pb2.RETRIEVAL_MODE_DENSE, source_pb2.RETRIEVAL_MODE_LEXICAL])
async def test_every_mode_finds_the_door(core: RetrievalCore, mode: source_pb2.RetrievalMode.ValueType) -> None:
    await import_all(core)
    (response,) = await retrieve(core, "office door", mode=mode)
    assert response.sources[0].document.endswith("door")
    assert response.statistics.mode == mode
    lexical = mode == source_pb2.RETRIEVAL_MODE_LEXICAL
    assert response.sources[0].HasField("cosine") is not lexical
    assert (response.statistics.embedding_time.ToNanoseconds() == 0) is lexical


async def test_as_many_sources_come_as_are_asked_for(core: RetrievalCore) -> None:
    for number in range(10):
        await import_text(core, f"Room {number} has {number} chairs.", f"d{number}")
    assert len(await sources(core, "chairs")) == 8
    assert len(await sources(core, "chairs", top_k=3)) == 3
    assert len(await sources(core, "chairs", top_k=100)) == 10


async def test_min_score_is_the_least_relevance(core: RetrievalCore) -> None:
    await import_all(core)
    everything = await sources(core, "paid leave for an employee")
    relevance = {source.document.rpartition("/")[2]: source.relevance for source in everything}
    assert relevance["leave"] > 0.1 > max(relevance["door"], relevance["lunch"])
    (response,) = await retrieve(core, "paid leave for an employee", min_score=0.1)
    assert [source.document.rpartition("/")[2] for source in response.sources] == ["leave"]
    assert response.statistics.below_min_score == 2
    for no_limit in (-1.0, 0.0):
        assert len(await sources(core, "paid leave for an employee", min_score=no_limit)) == 3
    assert await sources(core, "paid leave for an employee", min_score=1.0) == []


async def test_min_score_is_refused_where_no_embedding_takes_part(core: RetrievalCore) -> None:
    await import_all(core)
    assert not any(
        source.HasField("relevance") for source in await sources(core, "door", mode=source_pb2.RETRIEVAL_MODE_LEXICAL)
    )
    with pytest.raises(InvalidRequest) as refused:
        await retrieve(core, "leave", mode=source_pb2.RETRIEVAL_MODE_LEXICAL, min_score=0.4)
    assert refused.value.violations[0].field == "options.min_score"


async def test_a_token_budget_leaves_out_the_lowest_ranked(core: RetrievalCore) -> None:
    await import_all(core)
    everything = await sources(core, "office")
    two = sum(-(-len(source.content.encode()) // 4) for source in everything[:2])
    (response,) = await retrieve(core, "office", token_budget=two)
    assert list(response.sources) == everything[:2]
    assert response.statistics.over_token_budget == 1
    (response,) = await retrieve(core, "office", token_budget=1)
    assert list(response.sources) == []
    assert response.statistics.over_token_budget == 3


async def test_a_filter_selects_documents(core: RetrievalCore) -> None:
    await import_all(core)
    comparison = filter_pb2.Comparison(key="topic", op=filter_pb2.COMPARISON_OPERATOR_EQ, value=string("lunch"))
    found = await sources(core, "office door", filter=filter_pb2.Filter(comparison=comparison))
    assert [source.document.rpartition("/")[2] for source in found] == ["lunch"]


async def test_a_filter_that_nests_too_deep_is_refused(core: RetrievalCore) -> None:
    comparison = filter_pb2.Comparison(key="topic", op=filter_pb2.COMPARISON_OPERATOR_EXISTS)
    nested = filter_pb2.Filter(comparison=comparison)
    for _ in range(16):
        nested = filter_pb2.Filter(negate=nested)
    with pytest.raises(InvalidRequest) as refused:
        await retrieve(core, "office", filter=nested)
    assert refused.value.violations[0].field.startswith("options.filter")


async def test_several_corpora_are_searched_by_bare_id_or_name_each_once(core: RetrievalCore) -> None:
    for corpus in ("a", "b"):
        await create_corpus(core, corpus)
        await import_text(core, f"The door in {corpus} is green.", "door", corpus=corpus)
    found = await sources(core, "door", "a", "corpora/b", "corpora/a")
    assert sorted(source.document for source in found) == ["corpora/a/documents/door", "corpora/b/documents/door"]
    assert [source.document for source in await sources(core, "door", "b")] == ["corpora/b/documents/door"]


async def test_an_empty_service_finds_nothing_in_default_and_knows_no_other(core: RetrievalCore) -> None:
    for corpora in ((), ("default",), ("corpora/default",)):
        (response,) = await retrieve(core, "anything", *corpora)
        assert list(response.sources) == []
        assert response.statistics.index_current
    with pytest.raises(ResourceNotFound) as missing:
        await retrieve(core, "anything", "default", "nowhere")
    assert missing.value.resource == "corpora/nowhere"


async def test_many_large_sources_come_in_batches_and_the_last_has_the_statistics(core: RetrievalCore) -> None:
    metadata = {f"key{number}": string("v" * 500) for number in range(10)}
    uri = "https://example.com/" + "u" * 4000
    for number in range(4):  # each paragraph with a heading of its own, so that none is joined or folded
        text = "\n\n".join(
            f"# Part {number}.{part}\n\nParagraph. " + "Words and words again. " * 40 for part in range(25)
        )
        content = f"# Document {number}\n\n{text}"
        await import_text(core, content, f"d{number}", uri=uri, metadata=metadata, media_type="text/markdown")
    responses = await retrieve(core, "paragraph", top_k=100)
    assert len(responses) > 1
    assert [response.HasField("statistics") for response in responses] == [False] * (len(responses) - 1) + [True]
    assert all(response.ByteSize() < 300 * 1024 for response in responses)
    found = [source for response in responses for source in response.sources]
    assert [source.rank for source in found] == list(range(1, 101))


async def test_what_stands_in_two_documents_is_shown_once_and_others_take_the_place(core: RetrievalCore) -> None:
    notice = "This travel notice has been read and approved by the head of the department for all of its staff."
    for number in range(20):
        await import_text(core, notice.upper() if number % 2 else notice, f"copy{number}")
    for number in range(3):
        await import_text(core, f"Travel to place {number} takes {number} days by train.", f"own{number}")
    (response,) = await retrieve(core, "travel notice", top_k=3)
    found = [source.document.rpartition("/")[2] for source in response.sources]
    assert len(found) == 3
    assert sum(document.startswith("copy") for document in found) == 1
    assert response.statistics.near_duplicates == 19
    assert [source.rank for source in response.sources] == [1, 2, 3]


async def test_passages_that_only_their_length_has_parted_are_one_source(core: RetrievalCore) -> None:
    text = "\n\n".join(f"Rule {number} of the canteen. " + f"It is about dish {number}. " * 30 for number in range(2))
    await import_text(core, text, "rules", uri="rules.txt")
    await import_text(core, TEXTS["door"], "door")
    (first, second) = await sources(core, "rule of the canteen about a dish")
    assert first.document.endswith("/rules")
    assert "Rule 0" in first.content
    assert "Rule 1" in first.content
    assert (first.location.line_range.first, first.location.line_range.last) == (1, 3)
    assert (first.rank, second.rank) == (1, 2)


async def test_a_passage_is_found_by_stems_of_its_own_language_among_those_of_others(core: RetrievalCore) -> None:
    await import_text(core, "Die Häuser in dieser Stadt sind nicht alt und haben keine Gärten.", "de")
    await import_text(core, "The houses of this city are old, and they have gardens.", "en")
    await import_text(core, "東京の天気は晴れです。", "ja")
    lexical = source_pb2.RETRIEVAL_MODE_LEXICAL
    for query, document in (("Haus mit Garten", "de"), ("a house and a garden", "en"), ("天気", "ja")):
        assert [source.document for source in await sources(core, query, mode=lexical)] == [
            f"corpora/default/documents/{document}"
        ]


async def test_a_reranker_gives_the_order_and_the_statistics_name_it(tmp_path: Path) -> None:
    results = [{"index": index, "relevance_score": score} for index, score in enumerate((0.1, 0.2, 0.9))]
    async with fake_provider() as provider:
        provider.canned = Canned([json.dumps({"results": results}).encode()])
        table = NamedReranker("cohere", base_url=provider.url)
        async with serving(tmp_path, reranking=RerankingConfig("mine/best", rerankers={"mine": table})) as core:
            await import_all(core)
            (response,) = await retrieve(core, "office door", top_k=2)
            provider.canned = Canned([b"{}"], status=400)
            (unranked,) = await retrieve(core, "office door", top_k=2)
    (_, _, body), *_ = provider.requests
    assert isinstance(body, dict)
    assert [source.content for source in response.sources] == [body["documents"][2], body["documents"][1]]
    assert [source.score for source in response.sources] == [0.9, 0.2]
    assert response.statistics.reranker == "mine/best"
    assert response.statistics.rerank_time.ToNanoseconds() > 0
    assert [source.content for source in unranked.sources] == body["documents"][:2]
    assert unranked.statistics.reranker == ""


def hit(text: str = "text", **metadata: str) -> Hit:
    document = DocumentRecord("d", "title", "", "text/plain", metadata)
    return Hit(CorpusKey("t", "c"), document, "p", 0, text, "", None, 1.0, None)


def test_a_source_keeps_its_bounds() -> None:
    source = source_message(hit("é" * 10_000, a="x" * 900, b="y" * 2000, c="z" * 100), rank=1)
    assert len(source.content.encode()) == 16 * 1024
    assert set(source.content) == {"é"}
    assert sorted(source.metadata) == ["a", "c"]
    assert sum(len(key) + value.ByteSize() for key, value in source.metadata.items()) <= 1024
    assert not source.HasField("cosine")
    assert not source.HasField("location")


@pytest.mark.parametrize(
    ("location", "message"),
    [
        (Location("page", 2, 3), source_pb2.Location(page_range=source_pb2.PageRange(first=2, last=3))),
        (Location("slide", 4, 4), source_pb2.Location(slide=4)),
        (Location("line", 1, 9), source_pb2.Location(line_range=source_pb2.LineRange(first=1, last=9))),
        (Location("paragraph", 1, 2), source_pb2.Location(paragraph_range=source_pb2.ParagraphRange(first=1, last=2))),
        (Location("row", 1, 2, "S"), source_pb2.Location(row_range=source_pb2.RowRange(first=1, last=2, sheet="S"))),
        (Location("byte", 0, 5), source_pb2.Location(byte_range=source_pb2.ByteRange(start=0, end=5))),
    ],
)
def test_every_kind_of_location_has_its_message(location: Location, message: source_pb2.Location) -> None:
    assert location_message(location) == message


SOURCES = st.lists(st.text(max_size=60).map(lambda text: source_pb2.Source(content=text)), max_size=20)


@given(SOURCES, st.integers(min_value=1, max_value=200))
def test_the_longest_beginning_that_fits_the_budget_is_kept(ranked: list[source_pb2.Source], token_budget: int) -> None:
    def tokens(part: list[source_pb2.Source]) -> int:
        return sum((len(source.content.encode()) + 3) // 4 for source in part)

    kept = list(within_budget(ranked, token_budget))
    assert kept == ranked[: len(kept)]
    assert tokens(kept) <= token_budget
    assert len(kept) == len(ranked) or tokens(ranked[: len(kept) + 1]) > token_budget


@given(st.lists(st.integers(min_value=0, max_value=60_000), max_size=100))
def test_batches_keep_the_order_and_their_bound(sizes: list[int]) -> None:
    ranked = [source_pb2.Source(content="x" * size, rank=rank) for rank, size in enumerate(sizes, start=1)]
    made = list(batches(ranked))
    assert [source.rank for batch in made for source in batch] == [source.rank for source in ranked]
    assert len(made) >= 1
    assert all(sum(source.ByteSize() for source in batch) <= 256 * 1024 for batch in made)
    assert all(batch for batch in made) or not ranked
