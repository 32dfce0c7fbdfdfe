from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headwater_server.retrieval.model import ParsedDocument
from headwater_server.retrieval.parsing import DocumentUnreadableError, parse


def read(source: str) -> ParsedDocument:
    return parse(source.encode(), name="page.html")


def texts(source: str) -> list[str]:
    return [block.text for block in read(source).blocks]


def test_a_page_is_read_with_the_lines_of_its_source() -> None:
    document = read(
        """<!doctype html><title>A &amp; B</title>
<h1>Head
ing</h1>
<p
 class="a>b">Some <b>bold</b>
text&nbsp;here<br>next
"""
    )
    assert document.title == "A & B"
    assert [(b.level, b.text) for b in document.blocks] == [(1, "Head ing"), (0, "Some bold text here\nnext")]
    heading, paragraph = document.blocks
    assert heading.source.locate(0, 8) == (2, 3)
    assert paragraph.source.locate(0, 4) == (5, 5)
    assert paragraph.source.locate(5, 9) == (5, 5)
    assert paragraph.source.locate(0, len(paragraph.text)) == (5, 6)


def test_what_a_reader_does_not_see_is_left_out() -> None:
    source = """<head><style>no</style></head><nav>no</nav><p>yes<script>no</script><!-- no --></p>
    <template>no</template><div hidden>no</div><noscript>no</noscript><svg><text>no</text></svg>
    <select><option>no</select><p title=no>end"""
    assert texts(source) == ["yes", "end"]


def test_a_permalink_is_no_part_of_a_heading() -> None:
    assert texts("<h1>Usage<a href='#usage'>¶</a></h1><p>Text ¶") == ["Usage", "Text ¶"]


def test_a_heading_that_is_never_closed_ends_where_a_paragraph_begins() -> None:
    document = read("<h1><div>Title</div><p>One.<p>Two.<h2>Next</h2>Three.")
    assert [(block.level, block.text) for block in document.blocks] == [
        (1, "Title"),
        (0, "One."),
        (0, "Two."),
        (2, "Next"),
        (0, "Three."),
    ]


def test_a_row_that_begins_with_an_empty_cell_has_its_own_lines() -> None:
    document = read("<p>before\n<table>\n<tr><td></td>\n<td>cell</table>")
    row = document.blocks[-1]
    assert row.text == "| cell"
    assert row.source.locate(0, len(row.text)) == (4, 4)


def test_lists_are_one_block_with_markers() -> None:
    source = "<ul><li>one <li><p>two</p><ol start=3><li>x<li>y</ol></ul>after"
    assert texts(source) == ["- one\n- two\n  3. x\n  4. y", "after"]


def test_rows_of_a_table_are_lines_of_cells() -> None:
    source = "<table><caption>Cap</caption><tr><th>A<th>B<tr><td><p>1</p><p>2</p></td><td></td></tr></table>"
    assert texts(source) == ["Cap\nA | B\n1 2 |"]


def test_a_heading_in_the_caption_of_a_table_is_a_line_of_it() -> None:
    table = (
        "<table><caption><h2>Prices</h2></caption><tr><td>a</td><td>1</td></tr><tr><td>b</td><td>2</td></tr></table>"
    )
    document = read(f"{table}<p>text</p><h2>Next</h2><p>more</p>")
    assert [(block.level, block.text) for block in document.blocks] == [
        (0, "Prices\na | 1\nb | 2"),
        (0, "text"),
        (2, "Next"),
        (0, "more"),
    ]


def test_a_table_that_lays_out_a_page_is_taken_apart() -> None:
    source = "<table><tr><td><h2>Menu</h2>left<td><table><tr><td>a<td>b</table></table>"
    assert texts(source) == ["Menu", "left", "a | b"]


def test_preformatted_text_keeps_its_lines() -> None:
    document = read("<pre>\nfirst\n   second\n\nfourth</pre>")
    (block,) = document.blocks
    assert block.text == "first\n   second\n\nfourth"
    assert block.source.locate(0, len(block.text)) == (2, 5)


def test_the_charset_of_the_page_is_used() -> None:
    page = "<meta charset=windows-1251><p>слово".encode("cp1251")
    assert parse(page, name="a.html").blocks[0].text == "слово"
    xhtml = (
        '<?xml version="1.0" encoding="windows-1251"?><html xmlns="http://www.w3.org/1999/xhtml"><p>слово</p></html>'
    )
    assert parse(xhtml.encode("cp1251"), media_type="application/xhtml+xml").blocks[0].text == "слово"
    declared = parse("<p>слово".encode("koi8-r"), media_type="text/html; charset=koi8-r")
    assert declared.blocks[0].text == "слово"


def test_without_a_title_the_first_heading_is_it_or_the_name() -> None:
    assert read("<p>x<h2>Second  level</h2>").title == "Second level"
    assert read("<title> </title><p>x").title == "page"


# Elements that a page of HTML, unlike one of XHTML, would have all that follows in.
CLOSED_IN_THEIR_OWN_TAG = [
    '<audio src="a.mp3"/>', "<video src='a.mp4' controls='controls' />", '<p><object data="f.svg"/></p>', "<canvas/>",
    '<svg xmlns="http://www.w3.org/2000/svg"/>', '<iframe src="x"/>', '<script src="a/b.js"/>', "<style/>", "<title/>",
    "<textarea/>", "<noscript/>", "<select/>", '<h2 id="x"/>', "<template/>", "<pre/>", "<table/>", "<ul/>", "<nav/>",
    "<svg><path/><a/></svg>", "<math><mi/></math>", "<div hidden='hidden'/>", "<frameset/>", "<unheard-of/>",
]  # fmt: skip
XMLNS = 'xmlns="http://www.w3.org/1999/xhtml"'


@pytest.mark.parametrize("empty", CLOSED_IN_THEIR_OWN_TAG)
@pytest.mark.parametrize(
    ("start", "name"),
    [
        ("<?xml version='1.0'?><html>", "page.html"),
        (f"<!DOCTYPE html>\n<html lang='en' {XMLNS}>", "page.html"),
        ("<html>", "page.xhtml"),
    ],
)
def test_an_element_of_xhtml_that_its_own_tag_closes_swallows_nothing(empty: str, start: str, name: str) -> None:
    source = f"{start}<head>{empty}</head><body><p>before</p>{empty}<p>after</p><script>no</script></body></html>"
    document = parse(source.encode(), name=name)
    assert [(block.level, block.text) for block in document.blocks] == [(0, "before"), (0, "after")]


@pytest.mark.parametrize(
    ("media_type", "expected"),
    [("application/xhtml+xml", ["before", "after"]), ("Application/XHTML+XML ; charset=utf-8", ["before", "after"]),
     ("text/html", ["before"])],
)  # fmt: skip
def test_a_page_may_be_xhtml_by_its_media_type_alone(media_type: str, expected: list[str]) -> None:
    document = parse(b"<p>before</p><canvas/><p>after</p>", media_type=media_type)
    assert [block.text for block in document.blocks] == expected


def test_an_empty_element_of_xhtml_still_parts_what_is_beside_it() -> None:
    source = f"<html {XMLNS}><body>one<p/>two<br/>three<table><tr><td/><td>cell</td></tr></table></body></html>"
    assert texts(source) == ["one", "two\nthree", "| cell"]


def test_in_html_the_slash_of_a_tag_means_nothing() -> None:
    assert texts("<p>before</p><div hidden/>no</div><p>after</p>") == ["before", "after"]


@pytest.mark.parametrize("source", ["<p> </p>", "<script>x</script>", "<!-- x", "<p title='x"])
def test_a_page_without_text_is_unreadable(source: str) -> None:
    with pytest.raises(DocumentUnreadableError, match="no text"):
        read(source)


def test_characters_that_could_pass_for_our_marks_are_harmless() -> None:
    document = read("<p>a\U000f0001\U00100005b &#xF0001;&#x100005;&#983041;&#1048581; c")
    assert document.blocks[0].text == "a\ufffd\ufffdb \ufffd\ufffd\ufffd\ufffd c"
    assert document.blocks[0].source.ends == (1,)


TAGS = [
    "p", "div", "b", "a href='x'", "span", "table", "tr", "td", "th", "ul", "ol", "li", "h1", "h2", "pre", "blockquote",
    "dl", "dd", "section", "caption", "center", "math", "form", "br", "img alt='w'", "i x=\"a>b\" y=c>d",
]  # fmt: skip
PIECES = st.one_of(
    st.sampled_from([f"<{tag}>" for tag in TAGS] + [f"</{tag.split()[0]}>" for tag in TAGS]),
    st.sampled_from(["\n", "\n \n", " ", "<!-- x\n -->", "&amp;", "< ", "<p\nid=x\n>", "<?x?>", "</>", "</ x>"]),
    st.just("WORD"),
)


@given(st.lists(PIECES, max_size=80))
def test_every_word_of_broken_markup_is_kept_once_with_its_exact_line(pieces: list[str]) -> None:
    source = "start\n" + "".join(f"w{i}w" if piece == "WORD" else piece for i, piece in enumerate(pieces))
    line_of = {match.group(): source.count("\n", 0, match.start()) + 1 for match in re.finditer(r"w\d+w", source)}
    found: list[str] = []
    for block in read(source).blocks:
        for match in re.finditer(r"w\d+w", block.text):
            found.append(match.group())
            assert block.source.locate(match.start(), match.end()) == (line_of[match.group()],) * 2
    assert sorted(found) == sorted(line_of)


@pytest.mark.parametrize(
    "source",
    [
        "<div>" * 100_000 + "text",
        "<div/>" * 100_000 + "text",
        "<ul><li>" * 20_000 + "text",
        "<table><tr><td>" * 10_000 + "text",
        "<svg>" + "<path/>" * 100_000 + "</svg>text",
        "<p>" + "".join(f"<font c={i}>" for i in range(5000)) + "<p>x" * 5000 + "text",
        "<b><div></b>" * 20_000 + "text",
        "<x>" * 50_000 + "</x>" * 60_000 + "text",
        "<" * 200_000 + "\n text",
        "x<a b='" * 50_000 + "'>text",
    ],
)
def test_pages_made_to_exhaust_a_parser_are_read(source: str) -> None:
    assert "text" in read(source).blocks[-1].text
