"""What every `Store` must do. A store's tests inherit `StoreConformance` and give it the fixture `store`."""

from __future__ import annotations

import itertools
import uuid
from dataclasses import replace

import anyio
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from headwater.v1 import filter_pb2
from headwater_server.errors import InvalidRequest
from headwater_server.retrieval.model import Location
from headwater_server.retrieval.store.filters import matches
from headwater_server.retrieval.store.protocol import (
    CorpusKey,
    CorpusUnknown,
    DocumentRecord,
    SearchMode,
    Store,
)
from tests.retrieval.store.filter_strategies import documents_with_metadata, filters
from tests.retrieval.store.records import (
    DIMENSION,
    EMBEDDER,
    Op,
    compares,
    document,
    filled,
    negated,
    passages,
    query,
    texts,
    vector,
)

pytestmark = pytest.mark.anyio
LIMIT_SECONDS = 30

MODES = list(SearchMode)


@pytest.fixture
def corpus() -> CorpusKey:
    return CorpusKey(f"tenant-{uuid.uuid4().hex}", "corpus")


class StoreConformance:
    """One store serves all tests; each works in a tenant of its own."""

    @pytest.mark.parametrize("mode", MODES)
    async def test_an_applied_passage_is_found_with_all_that_was_stored(
        self, store: Store, corpus: CorpusKey, mode: SearchMode
    ) -> None:
        await filled(store, corpus, {"d": ["the quick brown fox", "a slow green turtle"]})
        result = await store.search(query("quick brown fox", corpus, mode=mode))
        hit = next(hit for hit in result.hits if hit.text == "the quick brown fox")
        assert result.current
        assert hit.corpus == corpus
        assert hit.document == document("d")
        assert (hit.passage_id, hit.ordinal, hit.heading) == ("p0", 0, "Heading")
        assert hit.location == Location("line", 1, 2)

    async def test_a_passage_without_location_comes_back_without(self, store: Store, corpus: CorpusKey) -> None:
        await store.create_corpus(corpus, dimension=DIMENSION, embedder=EMBEDDER)
        bare = [replace(passages("nowhere")[0], location=None)]
        await store.wait_applied(await store.replace_document(corpus, document("d"), bare))
        result = await store.search(query("nowhere", corpus))
        assert [hit.location for hit in result.hits] == [None]

    async def test_dense_search_ranks_by_cosine(self, store: Store, corpus: CorpusKey) -> None:
        contents = [f"passage number {number}" for number in range(20)]
        await filled(store, corpus, {"d": contents})
        result = await store.search(query("a question", corpus, mode=SearchMode.DENSE, limit=20))
        cosines = {text: float(vector("a question") @ vector(text)) for text in contents}
        assert texts(result) == sorted(contents, key=lambda text: -cosines[text])
        for hit in result.hits:
            assert hit.cosine == pytest.approx(cosines[hit.text], abs=1e-5)
            assert hit.score == pytest.approx(hit.cosine, abs=1e-4)

    async def test_lexical_search_finds_inflected_words_and_prefers_rare_ones(
        self, store: Store, corpus: CorpusKey
    ) -> None:
        common = {f"common{number}": [f"wings and more wings {number}"] for number in range(10)}
        await filled(store, corpus, common | {"rare": ["wings of an ornithopter"]})
        result = await store.search(query("winged ornithopters", corpus, mode=SearchMode.LEXICAL))
        assert result.hits[0].document.document_id == "rare"
        assert len(result.hits) == 10
        assert all(hit.cosine is None for hit in result.hits)

    async def test_lexical_search_without_a_word_in_common_finds_nothing(self, store: Store, corpus: CorpusKey) -> None:
        await filled(store, corpus, {"d": ["the quick brown fox"]})
        for text in ("turtle", "the of and", "", "?!"):
            assert texts(await store.search(query(text, corpus, mode=SearchMode.LEXICAL))) == []

    async def test_words_of_other_scripts_are_found(self, store: Store, corpus: CorpusKey) -> None:
        await filled(store, corpus, {"d": ["Größe der Flügel"], "e": ["крыло самолёта"]})
        assert texts(await store.search(query("FLÜGEL", corpus, mode=SearchMode.LEXICAL))) == ["Größe der Flügel"]
        assert texts(await store.search(query("Крыло", corpus, mode=SearchMode.LEXICAL))) == ["крыло самолёта"]

    async def test_words_are_stemmed_in_the_language_of_their_passage(self, store: Store, corpus: CorpusKey) -> None:
        await store.create_corpus(corpus, dimension=DIMENSION, embedder=EMBEDDER)
        contents = passages(
            "Die Häuser in der Stadt sind nicht alt",
            "the gardens of the city are old",
            "une maison à louer",
            "東京の天気",
        )
        contents[2] = replace(contents[2], language="fr")
        await store.wait_applied(await store.replace_document(corpus, document("d"), contents))
        for text, passage in (("Haus", 0), ("garden", 1), ("maisons", 2), ("天気", 3)):
            result = await store.search(query(text, corpus, mode=SearchMode.LEXICAL))
            assert texts(result) == [contents[passage].text]

    async def test_hybrid_search_finds_what_either_side_finds(self, store: Store, corpus: CorpusKey) -> None:
        await filled(store, corpus, {"d": [f"filler {number}" for number in range(30)] + ["an ornithopter"]})
        result = await store.search(query("ornithopter", corpus, limit=5))
        nearest = await store.search(query("ornithopter", corpus, mode=SearchMode.DENSE, limit=1))
        assert "an ornithopter" in texts(result)[:2]
        assert nearest.hits[0].text in texts(result)[:2]
        assert [hit.score for hit in result.hits] == sorted((hit.score for hit in result.hits), reverse=True)
        assert all(hit.cosine is not None for hit in result.hits)

    @pytest.mark.parametrize("mode", MODES)
    async def test_no_more_hits_than_the_limit(self, store: Store, corpus: CorpusKey, mode: SearchMode) -> None:
        await filled(store, corpus, {"d": [f"word {number}" for number in range(12)]})
        result = await store.search(query("word", corpus, mode=mode, limit=5))
        assert len(result.hits) == 5
        assert result.candidates == 12

    @pytest.mark.parametrize("mode", [SearchMode.HYBRID, SearchMode.DENSE])
    async def test_min_score_is_the_least_cosine(self, store: Store, corpus: CorpusKey, mode: SearchMode) -> None:
        contents = [f"passage {number}" for number in range(20)]
        await filled(store, corpus, {"d": contents})
        near = {text for text in contents if float(vector("passage") @ vector(text)) >= 0.2}
        assert 0 < len(near) < 20
        result = await store.search(query("passage", corpus, mode=mode, limit=20, min_score=0.2))
        assert set(texts(result)) == near
        assert result.below_min_score == 20 - len(near)

    async def test_replacing_a_document_leaves_nothing_of_the_old(self, store: Store, corpus: CorpusKey) -> None:
        await filled(store, corpus, {"d": ["old one", "old two", "old three"], "other": ["old and other"]})
        version = await store.replace_document(corpus, document("d", lang="en"), passages("new one", "old two"))
        assert "old one" not in texts(await store.search(query("old one", corpus)))  # before it is applied, too
        await store.wait_applied(version)
        result = await store.search(query("old new", corpus))
        assert sorted(texts(result)) == ["new one", "old and other", "old two"]
        assert [hit.document for hit in result.hits if hit.text == "new one"] == [document("d", lang="en")]
        assert await store.count_passages(corpus) == 3

    async def test_replacing_is_seen_at_once(self, store: Store, corpus: CorpusKey) -> None:
        await filled(store, corpus, {"d": [f"text 0 {part}" for part in range(5)]})

        async def replace_again_and_again() -> None:
            for number in range(1, 21):
                contents = passages(*(f"text {number} {part}" for part in range(5)))
                await store.replace_document(corpus, document("d"), contents)

        seen = 0
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(replace_again_and_again)
            for _ in range(30):
                result = await store.search(query("text", corpus, mode=SearchMode.DENSE))
                assert len({text.split()[1] for text in texts(result)}) <= 1
                assert len(result.hits) == 5 or not result.current
                seen += len(result.hits)
        assert seen

    async def test_the_same_write_twice_duplicates_nothing(self, store: Store, corpus: CorpusKey) -> None:
        first = await filled(store, corpus, {"d": ["one", "two"]})
        second = await store.replace_document(corpus, document("d"), passages("one", "two"))
        await store.wait_applied(second)
        assert second > first
        assert sorted(texts(await store.search(query("one two", corpus)))) == ["one", "two"]
        assert await store.count_passages(corpus) == 2

    async def test_a_document_without_passages_takes_the_place_of_one_with(
        self, store: Store, corpus: CorpusKey
    ) -> None:
        await filled(store, corpus, {"d": ["one", "two"]})
        await store.replace_document(corpus, document("d"), [])
        assert texts(await store.search(query("one", corpus))) == []
        assert await store.count_passages(corpus) == 0

    async def test_a_deleted_document_is_not_found_again(self, store: Store, corpus: CorpusKey) -> None:
        await filled(store, corpus, {"d": ["one"], "e": ["one more"]})
        version = await store.delete_document(corpus, "d")
        assert texts(await store.search(query("one", corpus))) == ["one more"]
        await store.wait_applied(version)
        assert texts(await store.search(query("one", corpus))) == ["one more"]
        assert await store.delete_document(corpus, "d") >= version
        assert await store.count_passages(corpus) == 1

    async def test_deleted_passages_do_not_crowd_out_the_others(self, store: Store, corpus: CorpusKey) -> None:
        crowd = {f"d{number}": [f"word word word {part}" for part in range(40)] for number in range(10)}
        await filled(store, corpus, crowd | {"left": ["a word among many others that are longer by far"]})
        for document_id in crowd:
            await store.delete_document(corpus, document_id)
        result = await store.search(query("word", corpus, limit=3))
        assert [hit.document.document_id for hit in result.hits] == ["left"]

    async def test_updating_a_document_changes_hits_and_filters(self, store: Store, corpus: CorpusKey) -> None:
        await filled(store, corpus, {"d": ["one"], "e": ["one more"]})
        changed = DocumentRecord("d", "New title", "new:uri", "text/html", {"lang": "fr"})
        await store.wait_applied(await store.update_document(corpus, changed))
        in_french = compares("lang", Op.COMPARISON_OPERATOR_EQ, "fr")
        result = await store.search(query("one", corpus, condition=in_french))
        assert [(hit.document, hit.text) for hit in result.hits] == [(changed, "one")]

    async def test_updating_an_unknown_document_makes_none(self, store: Store, corpus: CorpusKey) -> None:
        version = await filled(store, corpus, {"d": ["one"]})
        assert await store.update_document(corpus, document("unknown")) >= version
        assert len((await store.search(query("one", corpus))).hits) == 1

    async def test_a_deleted_corpus_is_unknown_and_can_be_made_again(self, store: Store, corpus: CorpusKey) -> None:
        await filled(store, corpus, {"d": ["one"]})
        version = await store.delete_corpus(corpus)
        with pytest.raises(CorpusUnknown):
            await store.search(query("one", corpus))
        assert await store.delete_corpus(corpus) >= version
        await filled(store, corpus, {"d": ["two"]}, dimension=DIMENSION)
        assert texts(await store.search(query("one", corpus))) == ["two"]

    async def test_a_corpus_takes_the_place_of_another_with_all_it_has(self, store: Store, corpus: CorpusKey) -> None:
        shadow = CorpusKey(corpus.tenant, "shadow")
        await filled(store, corpus, {"d": ["old passage", "old too"], "e": ["old and gone"]})
        await store.create_corpus(shadow, dimension=DIMENSION + 1, embedder="another")
        embedded_anew = [replace(each, vector=vector(each.text, dimension=DIMENSION + 1)) for each in passages("new")]
        before = await store.replace_document(shadow, document("d", lang="en"), embedded_anew)
        version = await store.replace_corpus(corpus, by=shadow)
        assert version > before
        await store.wait_applied(version)
        asked = replace(query("old new passage", corpus), vector=vector("new", dimension=DIMENSION + 1))
        result = await store.search(asked)
        assert result.current
        assert [(hit.corpus, hit.text, hit.document) for hit in result.hits] == [
            (corpus, "new", document("d", lang="en"))
        ]
        assert await store.count_passages(corpus) == 1
        with pytest.raises(CorpusUnknown):
            await store.search(query("new", shadow))
        with pytest.raises(CorpusUnknown):
            await store.count_passages(shadow)
        with pytest.raises(ValueError, match="made by"):
            await store.create_corpus(corpus, dimension=DIMENSION + 1, embedder=EMBEDDER)
        await store.create_corpus(corpus, dimension=DIMENSION + 1, embedder="another")
        await filled(store, shadow, {"d": ["a shadow again"]})
        assert texts(await store.search(query("shadow", shadow))) == ["a shadow again"]

    async def test_a_corpus_takes_a_place_where_none_was(self, store: Store, corpus: CorpusKey) -> None:
        shadow = CorpusKey(corpus.tenant, "shadow")
        await filled(store, shadow, {"d": ["one"]})
        await store.replace_corpus(corpus, by=shadow)
        assert texts(await store.search(query("one", corpus))) == ["one"]

    async def test_what_cannot_take_a_corpus_s_place_leaves_it(self, store: Store, corpus: CorpusKey) -> None:
        await filled(store, corpus, {"d": ["one"]})
        foreign = CorpusKey(f"{corpus.tenant}-other", corpus.corpus_id)
        await filled(store, foreign, {"d": ["theirs"]})
        with pytest.raises(CorpusUnknown):
            await store.replace_corpus(corpus, by=CorpusKey(corpus.tenant, "unknown"))
        for wrong in (corpus, foreign):
            with pytest.raises(ValueError, match="place"):
                await store.replace_corpus(corpus, by=wrong)
        assert texts(await store.search(query("one", corpus))) == ["one"]
        assert texts(await store.search(query("one", foreign))) == ["theirs"]

    async def test_a_search_sees_the_one_corpus_or_the_other(self, store: Store, corpus: CorpusKey) -> None:
        await filled(store, corpus, {"d": [f"text 0 {part}" for part in range(5)]})

        async def replace_again_and_again() -> None:
            for number in range(1, 11):
                shadow = CorpusKey(corpus.tenant, f"shadow-{number}")
                await filled(store, shadow, {"d": [f"text {number} {part}" for part in range(5)]})
                await store.replace_corpus(corpus, by=shadow)

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(replace_again_and_again)
            for _ in range(30):
                result = await store.search(query("text", corpus, mode=SearchMode.DENSE))
                assert len({text.split()[1] for text in texts(result)}) == 1
                assert len(result.hits) == 5

    async def test_versions_only_grow(self, store: Store, corpus: CorpusKey) -> None:
        other = CorpusKey(corpus.tenant, "other")
        versions = [
            await store.create_corpus(corpus, dimension=DIMENSION, embedder=EMBEDDER),
            await store.replace_document(corpus, document("d"), passages("one")),
            await store.create_corpus(other, dimension=DIMENSION, embedder=EMBEDDER),
            await store.update_document(corpus, document("d", year=2024)),
            await store.delete_document(corpus, "d"),
            await store.delete_corpus(other),
        ]
        assert all(earlier < later for earlier, later in itertools.pairwise(versions))
        await store.wait_applied(versions[-1])
        assert await store.applied_version() >= versions[-1]

    async def test_creating_a_corpus_again_does_nothing(self, store: Store, corpus: CorpusKey) -> None:
        await filled(store, corpus, {"d": ["one"]})
        await store.create_corpus(corpus, dimension=DIMENSION, embedder=EMBEDDER)
        assert await store.count_passages(corpus) == 1

    async def test_a_corpus_never_mixes_dimensions_or_embedders(self, store: Store, corpus: CorpusKey) -> None:
        await filled(store, corpus, {"d": ["one"]})
        with pytest.raises(ValueError, match="dimension"):
            await store.create_corpus(corpus, dimension=DIMENSION + 1, embedder=EMBEDDER)
        with pytest.raises(ValueError, match="embedder"):
            await store.create_corpus(corpus, dimension=DIMENSION, embedder="another embedder")
        assert await store.count_passages(corpus) == 1

    async def test_an_empty_corpus_has_no_hits(self, store: Store, corpus: CorpusKey) -> None:
        await store.create_corpus(corpus, dimension=DIMENSION, embedder=EMBEDDER)
        for mode in MODES:
            assert (await store.search(query("one", corpus, mode=mode))).hits == ()
        assert await store.count_passages(corpus) == 0

    async def test_a_corpus_that_was_not_created_is_unknown(self, store: Store, corpus: CorpusKey) -> None:
        known = CorpusKey(corpus.tenant, "known")
        await filled(store, known, {"d": ["one"]})
        with pytest.raises(CorpusUnknown, match="corpus"):
            await store.search(query("one", known, corpus))
        with pytest.raises(CorpusUnknown):
            await store.replace_document(corpus, document("d"), passages("one"))
        with pytest.raises(CorpusUnknown):
            await store.update_document(corpus, document("d"))
        with pytest.raises(CorpusUnknown):
            await store.delete_document(corpus, "d")
        with pytest.raises(CorpusUnknown):
            await store.count_passages(corpus)

    async def test_a_refused_document_leaves_everything_as_it_was(self, store: Store, corpus: CorpusKey) -> None:
        await filled(store, corpus, {"d": ["one"]})
        good = passages("two", "three")
        too_short = replace(good[1], vector=vector("three", dimension=DIMENSION - 1))
        not_unit = replace(good[1], vector=good[1].vector * np.float32(2))
        not_finite = replace(good[1], vector=good[1].vector * np.float32("nan"))
        same_id = replace(good[1], passage_id=good[0].passage_id)
        for bad in (too_short, not_unit, not_finite, same_id):
            with pytest.raises(ValueError, match="passage"):
                await store.replace_document(corpus, document("d", changed=True), [good[0], bad])
        for value in (2**63, float("inf")):
            with pytest.raises(ValueError, match="number"):
                await store.replace_document(corpus, document("d", number=value), good)
        result = await store.search(query("one", corpus))
        assert [(hit.text, hit.document) for hit in result.hits] == [("one", document("d"))]

    async def test_a_query_of_another_dimension_is_refused(self, store: Store, corpus: CorpusKey) -> None:
        await filled(store, corpus, {"d": ["one"]})
        wrong = replace(query("one", corpus), vector=vector("one", dimension=DIMENSION + 1))
        with pytest.raises(ValueError, match="query"):
            await store.search(wrong)

    async def test_a_query_that_contradicts_itself_is_refused(self, store: Store, corpus: CorpusKey) -> None:
        await filled(store, corpus, {"d": ["one"]})
        fine = query("one", corpus)
        contradictions = [
            replace(fine, corpora=()),
            replace(fine, corpora=(corpus,) * 11),
            replace(fine, corpora=(corpus, CorpusKey("another tenant", "corpus"))),
            replace(fine, limit=0),
            replace(fine, limit=1_001),
            replace(fine, vector=None),
            replace(fine, mode=SearchMode.LEXICAL),
            replace(fine, mode=SearchMode.LEXICAL, vector=None, min_score=0.5),
            replace(fine, min_score=float("nan")),
        ]
        for contradiction in contradictions:
            with pytest.raises(ValueError, match=r"."):
                await store.search(contradiction)

    async def test_a_filter_without_meaning_is_refused(self, store: Store, corpus: CorpusKey) -> None:
        await filled(store, corpus, {"d": ["one"]})
        deep = compares("lang", Op.COMPARISON_OPERATOR_EXISTS)
        for _ in range(16):
            deep = negated(deep)
        for condition in (deep, filter_pb2.Filter()):
            with pytest.raises(InvalidRequest):
                await store.search(query("one", corpus, condition=condition))

    @pytest.mark.parametrize("mode", MODES)
    async def test_filters_come_before_ranking(self, store: Store, corpus: CorpusKey, mode: SearchMode) -> None:
        await store.create_corpus(corpus, dimension=DIMENSION, embedder=EMBEDDER)
        for number in range(20):
            wanted = number % 10 == 9
            contents = [f"word {number} {part}" + " and many others" * wanted for part in range(20)]
            await store.replace_document(corpus, document(f"d{number}", wanted=wanted), passages(*contents))
        condition = compares("wanted", Op.COMPARISON_OPERATOR_EQ, True)
        result = await store.search(query("word", corpus, mode=mode, limit=30, condition=condition))
        assert len(result.hits) == 30
        assert {hit.document.document_id for hit in result.hits} == {"d9", "d19"}

    @settings(
        max_examples=60,
        deadline=None,
        suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
    )
    @given(documents=documents_with_metadata(), conditions=st.lists(filters(), min_size=1, max_size=5))
    async def test_a_filtered_search_finds_exactly_what_matches(
        self, store: Store, documents: list[DocumentRecord], conditions: list[filter_pb2.Filter]
    ) -> None:
        corpus = CorpusKey(f"tenant-{uuid.uuid4().hex}", "filtered")
        version = await store.create_corpus(corpus, dimension=DIMENSION, embedder=EMBEDDER)
        for each in documents:
            version = await store.replace_document(corpus, each, passages("word one", "word two"))
        await store.wait_applied(version)
        for condition, mode in itertools.product(conditions, MODES):
            result = await store.search(query("word", corpus, mode=mode, limit=1_000, condition=condition))
            found = sorted((hit.document.document_id, hit.passage_id) for hit in result.hits)
            matching = [each.document_id for each in documents if matches(condition, each)]
            assert found == sorted(itertools.product(matching, ("p0", "p1")))
        await store.delete_corpus(corpus)

    async def test_a_very_wide_filter_is_exact_too(self, store: Store, corpus: CorpusKey) -> None:
        await store.create_corpus(corpus, dimension=DIMENSION, embedder=EMBEDDER)
        for number in range(4):
            await store.replace_document(corpus, document(f"d{number}", number=number), passages("word"))
        lists = [
            [compares("number", Op.COMPARISON_OPERATOR_EQ, first + second) for second in range(0, 400, 100)]
            for first in (1, 3, *range(4, 66))
        ]
        anything = [filter_pb2.Filter(any_of=filter_pb2.FilterList(filters=each)) for each in lists]
        wide = filter_pb2.Filter(any_of=filter_pb2.FilterList(filters=anything))
        result = await store.search(query("word", corpus, condition=wide))
        assert sorted(hit.document.document_id for hit in result.hits) == ["d1", "d3"]

    async def test_several_corpora_are_searched_as_one(self, store: Store, corpus: CorpusKey) -> None:
        other = CorpusKey(corpus.tenant, "other")
        await filled(store, corpus, {"d": ["alpha beta", "gamma"]})
        await filled(store, other, {"d": ["alpha delta", "epsilon"]})
        result = await store.search(query("alpha", corpus, other, corpus))
        assert sorted(texts(result)) == ["alpha beta", "alpha delta", "epsilon", "gamma"]
        assert {hit.corpus for hit in result.hits if hit.text == "alpha delta"} == {other}
        dense = await store.search(query("alpha", corpus, other, mode=SearchMode.DENSE))
        assert [hit.score for hit in dense.hits] == sorted((hit.score for hit in dense.hits), reverse=True)
        lexical = await store.search(query("alpha", corpus, other, mode=SearchMode.LEXICAL))
        assert sorted(texts(lexical)) == ["alpha beta", "alpha delta"]

    async def test_tenants_never_meet(self, store: Store, corpus: CorpusKey) -> None:
        other = CorpusKey(f"{corpus.tenant}-other", corpus.corpus_id)
        await filled(store, corpus, {"d": ["mine"]})
        with pytest.raises(CorpusUnknown):
            await store.search(query("mine", other))
        await filled(store, other, {"d": ["yours"]})
        assert texts(await store.search(query("mine", corpus))) == ["mine"]
        assert texts(await store.search(query("mine", other))) == ["yours"]
        await store.delete_document(other, "d")
        await store.delete_corpus(other)
        assert texts(await store.search(query("mine", corpus))) == ["mine"]

    async def test_writes_to_one_document_apply_in_the_order_of_their_calls(
        self, store: Store, corpus: CorpusKey
    ) -> None:
        await store.create_corpus(corpus, dimension=DIMENSION, embedder=EMBEDDER)
        versions: dict[int, int] = {}

        async def write(number: int) -> None:
            versions[number] = await store.replace_document(corpus, document("d"), passages(f"write {number}"))

        async with anyio.create_task_group() as tasks:
            for number in range(20):
                tasks.start_soon(write, number)
        assert [versions[number] for number in range(20)] == sorted(versions.values())
        await store.wait_applied(versions[19])
        assert texts(await store.search(query("write", corpus))) == ["write 19"]

    async def test_searches_and_writes_run_side_by_side(self, store: Store, corpus: CorpusKey) -> None:
        await filled(store, corpus, {"steady": ["steady word"]})
        missing: list[int] = []

        async def write(number: int) -> None:
            await store.replace_document(corpus, document(f"d{number}"), passages(f"word {number}"))

        async def search(number: int) -> None:
            if "steady word" not in texts(await store.search(query("steady word", corpus, limit=100))):
                missing.append(number)

        with anyio.fail_after(LIMIT_SECONDS):
            async with anyio.create_task_group() as tasks:
                for number in range(50):
                    tasks.start_soon(write, number)
                    tasks.start_soon(search, number)
        assert not missing
        assert await store.count_passages(corpus) == 51

    async def test_a_cancelled_write_happens_as_a_whole_or_not_at_all(self, store: Store, corpus: CorpusKey) -> None:
        await store.create_corpus(corpus, dimension=DIMENSION, embedder=EMBEDDER)
        contents = passages(*(f"part {number}" for number in range(50)))
        for attempt in range(20):
            with anyio.move_on_after(0.0005 * attempt):
                await store.replace_document(corpus, document(f"d{attempt}"), contents)
        assert await store.count_passages(corpus) % 50 == 0
        version = await store.replace_document(corpus, document("last"), contents)
        await store.wait_applied(version)
        result = await store.search(query("part", corpus, limit=1_000))
        assert len(result.hits) == await store.count_passages(corpus)

    async def test_a_cancelled_search_disturbs_no_other(self, store: Store, corpus: CorpusKey) -> None:
        await filled(store, corpus, {"d": ["one"]})
        for _ in range(20):
            with anyio.move_on_after(0.0002):
                await store.search(query("one", corpus))
        assert texts(await store.search(query("one", corpus))) == ["one"]

    async def test_waiting_for_a_version_can_be_given_up(self, store: Store, corpus: CorpusKey) -> None:
        version = await filled(store, corpus, {"d": ["one"]})
        with anyio.move_on_after(0.05) as waiting:
            await store.wait_applied(version + 1_000_000)
        assert waiting.cancelled_caught
        assert texts(await store.search(query("one", corpus))) == ["one"]
