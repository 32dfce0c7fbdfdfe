from __future__ import annotations

import re
from textwrap import dedent

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headwater_server.retrieval.model import ParsedDocument
from headwater_server.retrieval.parsing import DocumentUnreadableError, parse


def read(text: str, name: str = "a.md") -> ParsedDocument:
    return parse(dedent(text).encode(), name=name)


def located(document: ParsedDocument) -> list[tuple[str, int, int]]:
    return [(block.text, *block.source.locate(0, len(block.text))) for block in document.blocks]


def test_headings_have_their_level_and_the_first_is_the_title() -> None:
    document = read("# A *bold* `title`\n\nText.\n\nSecond\n------\n\n### Third #\n")
    assert [(block.level, block.text) for block in document.blocks] == [
        (1, "A bold title"),
        (0, "Text."),
        (2, "Second"),
        (3, "Third"),
    ]
    assert document.title == "A bold title"
    assert located(document)[2:] == [("Second", 5, 5), ("Third", 8, 8)]


@pytest.mark.parametrize(
    ("text", "title"),
    [
        ("---\ntitle: 'The: title'\ntags: [a]\n---\n# Heading\n", "The: title"),
        ('+++\ntitle = "The title"\n+++\n# Heading\n', "The title"),
        ("---\nauthor: me\n...\n# Heading\n", "Heading"),
        ("---\n\nNo metadata, just lines\n\n---\n# Heading\n", "Heading"),
        ("+++\nnot toml\n+++\n# Heading\n", "Heading"),
        ("---\nauthor: me\n---\nNo heading\n", "a"),
    ],
)
def test_the_title_comes_from_front_matter_a_heading_or_the_name(text: str, title: str) -> None:
    assert read(text).title == title


def test_front_matter_is_no_text_and_the_lines_below_keep_their_numbers() -> None:
    assert located(read("---\ntitle: T\nkey: value\n---\n# Heading\n")) == [("Heading", 5, 5)]


def test_inline_markup_is_taken_off() -> None:
    document = read("See [the *docs*](http://x.example/ 'title') and ![a chart](c.png) &amp; <b>x</b> `a*b` \\*.")
    assert document.blocks[0].text == "See the docs and a chart & x a*b *."


def test_lists_listings_and_tables_stay_readable_with_their_lines() -> None:
    document = read(
        """
        - one
          more
          1. nested

             ```py
             code

               indented
             ```

        > quoted
        lazily

        a | b
        --|--
        1 | `2\\|3`
        4 |

            indented code
        """
    )
    assert located(document) == [
        ("- one\n  more\n  1. nested\n    code\n\n      indented", 2, 9),
        ("quoted\nlazily", 12, 13),
        ("a | b\n1 | 2|3\n4 |", 15, 18),
        ("indented code", 20, 20),
    ]
    listing = document.blocks[0]
    assert listing.source.locate(listing.text.index("code"), listing.text.index("code") + 4) == (7, 7)


def test_html_within_markdown_is_read_as_html() -> None:
    document = read("Text\n\n<div>\nfoo<br>\nbar &lt;\n<script>no</script></div>\n\nmore\n")
    assert located(document) == [("Text", 1, 1), ("foo\nbar <", 4, 5), ("more", 8, 8)]


def test_a_paragraph_whose_markup_spans_lines_is_located_as_a_whole() -> None:
    document = read("one [link](http://x\n'title') two\nthree\n")
    assert located(document) == [("one link two\nthree", 1, 3)]
    assert document.blocks[0].source.locate(0, 3) == (1, 3)


def test_a_document_without_text_is_unreadable() -> None:
    with pytest.raises(DocumentUnreadableError, match="no text"):
        read("---\ntitle: T\n---\n\n<!-- nothing -->\n\n---\n")


MARKS = ["# ", "- ", "1. ", "> ", "    ", "```\n", "*", "**", "`", "[", "](x)", "![", "|", "|\n-|-\n", "\n", "\n\n"]
MORE_MARKS = ["<b>", "<div>\n", "<!--", "\\", "---\n", " ", "[r]: ", "&amp;"]


@given(st.lists(st.sampled_from([*MARKS, *MORE_MARKS, "WORD", "WORD", "WORD"]), max_size=60))
def test_every_word_of_any_markdown_stands_at_most_once_and_in_its_lines(pieces: list[str]) -> None:
    source = "x\n\n" + "".join(f"w{i}w" if piece == "WORD" else piece for i, piece in enumerate(pieces))
    lines = source.split("\n")
    found: list[str] = []
    for block in parse(source.encode(), name="a.md").blocks:
        for match in re.finditer(r"w\d+w", block.text):
            found.append(match.group())
            start, end = block.source.locate(match.start(), match.end())
            assert any(match.group() in line for line in lines[start - 1 : end])
    assert len(found) == len(set(found))


PLAIN_MARKS = ["# ", "- ", "1. ", "> ", "*", "**", "|", "\n", "\n\n", "---\n", " "]


@given(st.lists(st.sampled_from([*PLAIN_MARKS, "WORD", "WORD"]), max_size=60))
def test_no_word_is_lost(pieces: list[str]) -> None:
    source = "x\n\n" + "".join(f"w{i}w" if piece == "WORD" else piece for i, piece in enumerate(pieces))
    text = " ".join(block.text for block in parse(source.encode(), name="a.md").blocks)
    assert re.findall(r"w\d+w", text) == re.findall(r"w\d+w", source)


@pytest.mark.parametrize("text", [">" * 5000 + " deep", "- " * 3000 + "deep", "> - " * 200 + "deep"])
def test_nesting_beyond_reason_loses_no_text(text: str) -> None:
    assert "deep" in parse(text.encode(), name="a.md").blocks[-1].text


def test_a_file_of_very_many_lines_is_read_as_plain_text() -> None:
    document = parse(b"# a\n*b*\n" * 100_001, name="a.md")
    assert [block.level for block in document.blocks] == [0]
    assert document.blocks[0].source.locate(0, len(document.blocks[0].text)) == (1, 200_002)


@pytest.mark.parametrize("text", ["[" * 30_000, "![" * 20_000, "*a **b " * 10_000, "a" + "`" * 20_000, "[a](" * 3000])
def test_markup_that_never_ends_is_text(text: str) -> None:
    document = parse(text.encode(), name="a.md")
    assert sum(len(block.text) for block in document.blocks) >= len(text.strip()) - 2
