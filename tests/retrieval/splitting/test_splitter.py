from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import settings as run_with
from hypothesis import strategies as st

from headwater_server.retrieval.model import Block, Location, ParsedDocument, Passage, SourceMap
from headwater_server.retrieval.splitting import MAX_PASSAGE_BYTES, SplitSettings, split

WORDS = st.sampled_from(
    ["river", "a", "of", "Ends.", "Really?", "incomprehensibilities", "漢字", "。", "e\u0301", "x" * 300, "\n", "\t"]
)
TEXTS = st.lists(WORDS, min_size=1, max_size=80).map(" ".join).filter(lambda text: bool(text.strip()))


@st.composite
def documents(draw: st.DrawFn) -> ParsedDocument:
    """Documents whose blocks map each line of their text to a unit of its own, counted through the document."""
    blocks: list[Block] = []
    unit = 1
    for text, level in draw(st.lists(st.tuples(TEXTS, st.sampled_from([0, 0, 0, 1, 2, 3])), min_size=1, max_size=12)):
        stripped = text.strip()
        block_text = " ".join(stripped.split()) if level else stripped
        source = SourceMap.line_by_line(block_text, unit)
        blocks.append(Block(block_text, source, level))
        unit = source.ends[-1] + 2
    return ParsedDocument("title", "text/plain", "line", tuple(blocks))


SETTINGS = st.builds(
    SplitSettings, max_characters=st.integers(60, 900), overlap_characters=st.sampled_from([0, 0, 10, 30])
)


def solid(text: str) -> str:
    return "".join(text.split())


def original_lines(document: ParsedDocument) -> dict[int, str]:
    return {
        block.source.starts[0] + i: line for block in document.blocks for i, line in enumerate(block.text.split("\n"))
    }


@given(documents(), SETTINGS)
def test_no_text_is_lost_or_repeated_but_for_the_overlap(document: ParsedDocument, settings: SplitSettings) -> None:
    passages = split(document, settings=settings)
    whole = solid("".join(block.text for block in document.blocks))
    reached = {0}  # where the passages so far may end in the whole: words repeat, so there may be several places
    for passage in passages:
        text = solid(passage.text)
        reached = {
            position - repeated + len(text)
            for position in reached
            for repeated in range(min(settings.overlap_characters, position, len(text) - 1) + 1)
            if whole.startswith(text, position - repeated)
        }
        assert reached, f"passage {passage.ordinal} does not continue the one before it"
    assert len(whole) in reached
    assert [passage.ordinal for passage in passages] == list(range(len(passages)))


@given(documents(), SETTINGS)
def test_the_text_of_a_passage_is_that_of_its_lines(document: ParsedDocument, settings: SplitSettings) -> None:
    lines = original_lines(document)
    for passage in split(document, settings=settings):
        assert passage.location is not None
        start, end = passage.location.start, passage.location.end
        there = [lines.get(number, "") for number in range(start, end + 1)]
        assert solid(passage.text) in solid("".join(there))
        # Exact: with a line less at either end the text would not be all there.
        assert solid(passage.text) not in solid("".join(there[1:])) or not solid(there[0]) or repeats(there)
        assert solid(passage.text) not in solid("".join(there[:-1])) or not solid(there[-1]) or repeats(there)


def repeats(lines: list[str]) -> bool:
    """Return whether lines are so alike that a text may stand in them twice."""
    solids = [solid(line) for line in lines]
    return any(solids[0] in other or other in solids[0] for other in solids[1:]) or any(
        solids[-1] in other or other in solids[-1] for other in solids[:-1]
    )


@given(documents(), SETTINGS)
def test_passages_keep_to_their_sizes(document: ParsedDocument, settings: SplitSettings) -> None:
    for passage in split(document, settings=settings):
        assert passage.text == passage.text.strip()
        assert 0 < len(passage.text) <= settings.max_characters


def test_the_longest_passage_fits_its_bytes_in_any_script() -> None:
    settings = SplitSettings(max_characters=4096)
    passages = split(make_document((0, "𝒳" * 20_000)), settings=settings)
    assert all(len(passage.text.encode()) <= MAX_PASSAGE_BYTES for passage in passages)


@pytest.mark.parametrize(("size", "overlap"), [(49, 0), (4097, 0), (1000, 501), (1000, -1)])
def test_sizes_that_cannot_be_kept_are_refused(size: int, overlap: int) -> None:
    with pytest.raises(ValueError, match="must be from"):
        SplitSettings(max_characters=size, overlap_characters=overlap)


def make_document(*blocks: tuple[int, str]) -> ParsedDocument:
    """Return a document of (level, text) blocks, the n-th of them in paragraph n."""
    made = tuple(Block(text, SourceMap.whole(n), level) for n, (level, text) in enumerate(blocks, start=1))
    return ParsedDocument("title", "text/plain", "paragraph", made)


def sentences(count: int, word: str = "water") -> str:
    return " ".join(f"Sentence {n} is about {word}." for n in range(count))


def test_small_blocks_are_merged() -> None:
    passages = split(make_document((0, "One."), (0, "Two."), (0, "Three.")))
    assert passages == (Passage(0, "One.\n\nTwo.\n\nThree.", Location("paragraph", 1, 3)),)


def test_sections_are_kept_apart_and_carry_their_headings() -> None:
    passages = split(
        make_document(
            (1, "Book"),
            (2, "Rivers"),
            (0, sentences(10)),
            (2, "Lakes"),
            (0, sentences(14, "fish")),
            (3, "Deep"),
            (0, sentences(20, "depth")),
        )
    )
    assert [(passage.heading, passage.location) for passage in passages] == [
        ("Book > Rivers", Location("paragraph", 1, 3)),
        ("Book > Lakes", Location("paragraph", 4, 5)),
        ("Book > Lakes > Deep", Location("paragraph", 6, 7)),
    ]
    assert passages[0].text.startswith("Book\n\nRivers\n\nSentence 0")


def test_tiny_sections_are_merged_under_what_they_share() -> None:
    passages = split(make_document((1, "Notes"), (2, "1.1"), (0, "Fixed."), (2, "1.0"), (0, "First."), (2, "0.9")))
    (passage,) = passages
    assert passage.heading == "Notes"
    assert passage.text == "Notes\n\n1.1\n\nFixed.\n\n1.0\n\nFirst.\n\n0.9"


def test_the_end_of_a_section_is_not_merged_with_the_next() -> None:
    document = make_document((1, "A"), (0, sentences(6)), (0, "The end of A."), (1, "B"), (0, "Start of B."))
    passages = split(document, settings=SplitSettings(max_characters=200))
    assert passages[-1].text == "B\n\nStart of B."
    assert passages[-2].text.endswith("The end of A.")


@given(st.integers(100, 400), st.integers(1, 60), st.integers(1, 40))
def test_a_heading_is_never_parted_from_what_follows_it(size: int, before: int, after: int) -> None:
    blocks = [(0, sentences(before)), (1, "Top"), (2, "Heading"), (0, sentences(after, "fish")), (0, "End.")]
    document = make_document(*blocks)
    passages = split(document, settings=SplitSettings(max_characters=size))
    (holder,) = (passage for passage in passages if "Heading" in passage.text)
    assert "Top\n\nHeading\n\nSentence 0 is about fish." in holder.text
    assert holder.text.startswith("Top") or size > len(sentences(before))


def test_a_long_paragraph_is_cut_between_sentences_into_like_lengths() -> None:
    text = sentences(50)
    passages = split(make_document((0, text)), settings=SplitSettings(max_characters=500))
    assert all(passage.text.startswith("Sentence") and passage.text.endswith(".") for passage in passages)
    lengths = [len(passage.text) for passage in passages]
    assert min(lengths) > 0.6 * max(lengths)


def test_the_overlap_is_whole_words_of_the_passage_before() -> None:
    settings = SplitSettings(max_characters=300, overlap_characters=60)
    passages = split(make_document((0, sentences(40))), settings=settings)
    for before, after in pairwise(passages):
        shared = max(n for n in range(1, 61) if before.text.endswith(after.text[:n]))
        assert 30 <= shared <= 60
        assert before.text[-shared - 1] == " "
    assert "\n" not in "".join(passage.text for passage in passages)


@pytest.mark.parametrize("text", ["a" * 300_000, "漢字仮名交じり文" * 40_000, "word " * 100_000, "a.b" * 100_000])
def test_a_text_without_boundaries_is_split_all_the_same(text: str) -> None:
    passages = split(make_document((0, text.strip())))
    assert solid("".join(passage.text for passage in passages)) == solid(text)
    assert len(passages) < len(text) / 500


def test_a_passage_across_pages_has_the_range_of_its_own_text() -> None:
    first, second = sentences(30), sentences(30, "fish")
    block = Block(f"{first} {second}", SourceMap.parts([(0, 7, 7), (len(first) + 1, 8, 8)]))
    document = ParsedDocument("t", "application/pdf", "page", (block,))
    passages = split(document, settings=SplitSettings(max_characters=200))
    for passage in passages:
        pages = (7 if "water" in passage.text else 8, 8 if "fish" in passage.text else 7)
        assert passage.location == Location("page", *pages)


@run_with(deadline=None)
@given(documents(), SETTINGS, st.data())
def test_no_passage_spans_two_sheets(document: ParsedDocument, settings: SplitSettings, data: st.DataObject) -> None:
    names = data.draw(st.lists(st.sampled_from("ABC"), min_size=len(document.blocks), max_size=len(document.blocks)))
    blocks = tuple(replace(block, sheet=name) for block, name in zip(document.blocks, names, strict=True))
    lines = original_lines(document)
    sheets = {number: block.sheet for block in blocks for number in range(block.source.starts[0], max(lines) + 1)}
    for passage in split(replace(document, unit="row", blocks=blocks), settings=settings):
        assert passage.location is not None
        there = range(passage.location.start, passage.location.end + 1)
        assert {sheets[number] for number in there} == {passage.location.sheet}


@run_with(deadline=None)
@given(documents(), SETTINGS)
def test_a_passage_stands_on_one_slide(document: ParsedDocument, settings: SplitSettings) -> None:
    slides = tuple(
        replace(block, source=SourceMap.whole(number // 3 + 1)) for number, block in enumerate(document.blocks)
    )
    passages = split(replace(document, unit="slide", blocks=slides), settings=settings)
    for slide in {block.source.starts[0] for block in slides}:
        own = [passage for passage in passages if passage.location == Location("slide", slide, slide)]
        text = solid("".join(block.text for block in slides if block.source.starts[0] == slide))
        assert own
        assert all(solid(passage.text) in text for passage in own)
    assert all(passage.location and passage.location.start == passage.location.end for passage in passages)
