from __future__ import annotations

from xml.sax.saxutils import escape

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headwater_server.retrieval.model import ParsedDocument
from headwater_server.retrieval.parsing import DocumentTooLargeError, DocumentUnreadableError, ParseLimits, parse


def read(source: str | bytes, *, name: str = "file.xml") -> ParsedDocument:
    return parse(source if isinstance(source, bytes) else source.encode(), name=name)


def texts(source: str) -> list[str]:
    return [block.text for block in read(source).blocks]


def test_prose_becomes_paragraphs_under_headings_with_lines() -> None:
    document = read(
        """<?xml version="1.0"?>
<book><title>The <emphasis>Book</emphasis></title>
<chapter><title>One</title>
<para>Some <b>bold</b>
text.</para>
<programlisting>
def f():
    return <![CDATA[a < b]]>
</programlisting>
</chapter></book>"""
    )
    assert (document.unit, document.title) == ("line", "The Book")
    assert [(block.level, block.text, block.source.locate(0, len(block.text))) for block in document.blocks] == [
        (1, "The Book", (2, 2)),
        (2, "One", (3, 3)),
        (0, "Some bold text.", (4, 5)),
        (0, "def f():\n    return a < b", (7, 8)),
    ]


def test_lists_within_a_paragraph_part_it() -> None:
    source = "<doc><para>Before <list><listitem><para>one</para></listitem></list> after</para></doc>"
    assert texts(source) == ["Before", "one", "after"]


def test_mixed_content_is_prose_whatever_its_name() -> None:
    assert texts("<doc><x>Words <y>and</y> words</x><x><y>First</y> word</x></doc>") == [
        "Words and words",
        "First word",
    ]


def test_data_becomes_named_values() -> None:
    document = read(
        """<shop><item sku="7" currency="EUR"><name>Tea</name><price unit="g">2</price></item>
<row Title="How" Body="So"/><empty/>
</shop>"""
    )
    assert document.blocks[0].text == (
        "item (sku: 7; currency: EUR):\nname: Tea\nprice (unit: g): 2\nrow (Title: How; Body: So)"
    )
    assert document.blocks[0].source.locate(0, 10) == (1, 1)
    assert document.blocks[0].source.locate(len(document.blocks[0].text) - 5, len(document.blocks[0].text)) == (2, 2)


def test_a_feed_has_its_items_under_their_titles() -> None:
    document = read(
        "<rss><channel><title>News</title><item><title>Rain</title><pubDate>Monday</pubDate></item>"
        "<item><title>Sun</title><pubDate>Friday</pubDate></item></channel></rss>",
        name="feed.rss",
    )
    assert [(block.level, block.text) for block in document.blocks] == [
        (1, "News"),
        (2, "Rain"),
        (0, "pubDate: Monday"),
        (2, "Sun"),
        (0, "pubDate: Friday"),
    ]


def test_comments_instructions_and_namespaces_are_left_out() -> None:
    source = '<?pi no?><a:doc xmlns:a="urn:no" a:x="yes"><!-- no --><a:value xml:lang="no">text</a:value></a:doc>'
    assert texts(source) == ["doc (x: yes):\nvalue: text"]


@pytest.mark.parametrize(
    ("encoding", "text"),
    [
        ("utf-8", "Größe"),
        ("utf-16", "Größe"),
        ("windows-1252", "“Größe”"),
        ("iso-8859-2", "Łódź"),
        ("koi8-r", "слово"),
        ("shift_jis", "日本語"),
        ("gb18030", "中文"),
    ],
)
def test_the_declared_encoding_is_used(encoding: str, text: str) -> None:
    source = f"<?xml version='1.0' encoding='{encoding}'?>\n<doc><word>{text}</word></doc>"
    assert read(source.encode(encoding)).blocks[0].text == f"doc:\nword: {text}"


def test_short_entities_are_expanded_and_html_s_are_known() -> None:
    source = """<!DOCTYPE doc SYSTEM "http://nowhere.invalid/doc.dtd" [<!ENTITY version "1.2 &#38;amp; more">]>
<doc><para>Version &version;, caf&eacute; &amp; &unknown;</para></doc>"""
    assert texts(source) == ["Version 1.2 & more, café & &unknown;"]


def test_files_named_by_entities_are_never_read() -> None:
    declared = '<!ENTITY f SYSTEM "file:///etc/hostname"><!ENTITY % p SYSTEM "file:///x"> %p;'
    source = f"<!DOCTYPE d [{declared}]><d><p>a&f;b</p></d>"
    assert texts(source) == ["a&f;b"]


@pytest.mark.parametrize(
    "declarations",
    [
        "".join(f'<!ENTITY l{n} "{f"&l{n - 1};" * 10}">' for n in range(1, 10)),
        f'<!ENTITY a "{"x" * 100_000}">',
        "".join(f'<!ENTITY e{n} "x">' for n in range(5000)),
        '<!ENTITY a "<b>markup</b>">',
    ],
)
def test_bombs_of_entities_are_refused(declarations: str) -> None:
    with pytest.raises(DocumentUnreadableError, match="entit"):
        read(f'<!DOCTYPE d [<!ENTITY l0 "lol">{declarations}]><d>&l9;</d>')


def test_attributes_that_every_element_would_have_are_refused_if_long() -> None:
    with pytest.raises(DocumentUnreadableError, match="attributes"):
        read(f'<!DOCTYPE d [<!ATTLIST a class CDATA "{"x" * 100_000}">]><d>{"<a/>" * 100_000}</d>')
    assert texts('<!DOCTYPE d [<!ATTLIST a unit CDATA "g">]><d><a>5</a></d>') == ["d:\na (unit: g): 5"]


@pytest.mark.parametrize("place", ['<d a="{}"/>', "<d>{}</d>"])
def test_a_quadratic_blow_up_is_too_large(place: str) -> None:
    references = "&a;" * 100_000
    with pytest.raises(DocumentTooLargeError, match="entities expand"):
        read(f'<!DOCTYPE d [<!ENTITY a "{"x" * 900}">]>{place.format(references)}')


@pytest.mark.parametrize("source", ["<a>" * 100_000, "<p>" + "<i>" * 100_000])
def test_xml_that_nests_too_deep_is_too_large(source: str) -> None:
    with pytest.raises(DocumentTooLargeError, match="nests deeper"):
        read(source)


def test_text_that_is_drawn_out_counts_against_the_limit() -> None:
    with pytest.raises(DocumentTooLargeError, match="characters"):
        parse(
            b"<d>" + b"<long-name>t</long-name>" * 5000 + b"</d>",
            name="a.xml",
            limits=ParseLimits(max_characters=60_000),
        )


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("<a>\n<b></a>", "line 2: mismatched tag"),
        ("\n\n<a>", "line 3: no element found"),
        ("no markup", "not well-formed"),
        ("<a>&#7;</a>", "invalid character"),
        ("<a></a><b></b>", "junk after"),
        ("<a><b/></a>", "has no text"),
    ],
)
def test_what_is_not_xml_is_unreadable_and_the_message_says_where(source: str, message: str) -> None:
    with pytest.raises(DocumentUnreadableError, match=message):
        read(source)


def test_a_page_that_is_called_xml_is_read_as_a_page() -> None:
    document = read("<?xml version='1.0'?>\n<html><body><h1>Page</h1><p>text<br/>text</p></body></html>")
    assert (document.media_type, document.title) == ("text/html", "Page")


WORDS = st.text("abc &<>\"'é\n", min_size=1, max_size=15)
TREES = st.recursive(
    WORDS,
    lambda inner: st.tuples(
        st.sampled_from(["p", "title", "v", "b", "rec", "programlisting"]), st.lists(inner, max_size=4)
    ),
    max_leaves=20,
)


class Writer:
    """Writes a tree as XML, with a mark in each text, and remembers the line of each."""

    def __init__(self) -> None:
        self.source = ""
        self.lines: list[int] = []

    def write(self, tree: str | tuple[str, list[object]]) -> None:
        if isinstance(tree, str):
            self.source += f" m{len(self.lines)}x {escape(tree)}"
            self.lines.append(self.source[: self.source.index(f"m{len(self.lines)}x")].count("\n") + 1)
            return
        name, children = tree
        self.source += f"<{name}>\n"
        for child in children:
            self.write(child)  # type: ignore[arg-type]  # hypothesis cannot say that the type is recursive
        self.source += f"</{name}>"


@given(TREES)
def test_every_text_comes_out_once_and_where_it_stood(tree: object) -> None:
    writer = Writer()
    writer.write(("doc", [tree, "end"]))
    document = read(writer.source)
    whole = "\n".join(block.text for block in document.blocks)
    for number, line in enumerate(writer.lines):
        mark = f"m{number}x"
        assert whole.count(mark) == 1
        block = next(block for block in document.blocks if mark in block.text)
        first, last = block.source.locate(block.text.index(mark), block.text.index(mark) + len(mark))
        assert first <= line <= last
