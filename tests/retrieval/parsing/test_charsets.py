from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headwater_server.retrieval.parsing import parse
from headwater_server.retrieval.parsing.charset_guess import guess_wide_charset
from headwater_server.retrieval.parsing.text import decode

# A sentence or two of each language, most of them pangrams.
TEXTS = {
    "German": "Über Größe und Schönheit läßt sich streiten: Für Ärzte wie für Bäcker zählt, was täglich nützt. ",
    "French": "L’été dernier, la forêt était « très belle » après la pluie ; où êtes-vous allé, garçon ? Ça coûte 5 €.",
    "Polish": "Wszyscy ludzie rodzą się wolni; zażółć gęślą jaźń, powiedział mężczyzna, który był w Łodzi późną nocą. ",
    "Czech": "Příliš žluťoučký kůň úpěl ďábelské ódy, když šel večer přes řeku domů a nikdo ho neviděl. ",
    "Hungarian": "Egy hűtlen vejét fülöncsípő, dühös mexikói úr ázik Quitóban, mert esőben őrzi a tükörfúrógépét. ",
    "Turkish": "Pijamalı hasta yağız şoföre çabucak güvendi; akşam eve dönerken ışıklar söndü, çocuklar şaşırdı. ",
    "Russian": "Съешь же ещё этих мягких французских булок, да выпей чаю; потом расскажи, что было дальше. ",
    "Greek": "Ξεσκεπάζω την ψυχοφθόρα βδελυγμία, είπε ο γέρος, και όλοι οι άνθρωποι γύρω του σώπασαν. ",
    "Japanese": "色は匂へど散りぬるを、我が世誰ぞ常ならむ。有為の奥山今日越えて、浅き夢見じ酔ひもせず。",
    "Chinese": "我能吞下玻璃而不伤身体，这是一句常用来测试文字编码的话，人们在许多语言里都写过它。",
    "Korean": "키스의 고유조건은 입술끼리 만나야 하고 특별한 기술은 필요치 않다고 그는 말했다. ",
}
CASES = [
    ("German", "cp1252"),
    ("German", "latin-1"),
    ("French", "cp1252"),
    ("Polish", "iso-8859-2"),
    ("Polish", "cp1250"),
    ("Czech", "iso-8859-2"),
    ("Czech", "cp1250"),
    ("Hungarian", "iso-8859-2"),
    ("Hungarian", "cp1250"),
    ("Turkish", "cp1254"),
    ("Russian", "koi8-r"),
    ("Russian", "cp1251"),
    ("Russian", "iso-8859-5"),
    ("Greek", "cp1253"),
    ("Japanese", "shift_jis"),
    ("Japanese", "euc-jp"),
    ("Japanese", "iso-2022-jp"),
    ("Chinese", "gb18030"),
    ("Korean", "euc-kr"),
    *[(language, encoding) for language in TEXTS for encoding in ("utf-8", "utf-16", "utf-16-le", "utf-16-be")],
]


def sample(language: str, encoding: str) -> str:
    """Return a text of some lines, without the characters that the encoding has not."""
    return (TEXTS[language] + "\n").encode(encoding, errors="ignore").decode(encoding) * 4


@pytest.mark.parametrize(("language", "encoding"), CASES)
def test_the_encoding_of_a_text_is_recognised(language: str, encoding: str) -> None:
    text = sample(language, encoding)
    assert decode(text.encode(encoding)) == text


@pytest.mark.parametrize(("language", "encoding"), CASES)
def test_a_table_is_read_in_every_encoding(language: str, encoding: str) -> None:
    text = sample(language, encoding)
    document = parse("\n".join(f"{n},{line}" for n, line in enumerate(text.split("\n"))).encode(encoding), name="a.csv")
    whole = "".join("".join(block.text for block in document.blocks).split())
    assert "".join(text.split("\n")[0].split(",")[0].split()) in whole


@pytest.mark.parametrize(("language", "encoding"), [case for case in CASES if not case[1].startswith("utf-16-")])
def test_a_page_is_read_in_the_encoding_that_it_declares(language: str, encoding: str) -> None:
    text = sample(language, encoding)
    page = f'<!doctype html><meta charset="{encoding}"><p>{text.strip()}</p>'
    document = parse(page.encode(encoding), name="a.html")
    assert document.blocks[0].text == " ".join(text.split())


LATIN_1 = "“It’s” € 50—never, café"


@pytest.mark.parametrize("label", ["iso-8859-1", "ISO_8859-1", "latin1", "L1"])
@pytest.mark.parametrize(
    ("name", "source"),
    [
        ("a.txt", "{text}"),
        ("a.html", '<meta charset="{label}"><p>{text}'),
        ("a.xml", '<?xml version="1.0" encoding="{label}"?><a><para>{text}</para></a>'),
        ("a.eml", "Content-Type: text/plain; charset={label}\nContent-Transfer-Encoding: 8bit\n\n{text}"),
    ],
)
def test_what_is_labelled_latin_1_has_the_quotes_and_dashes_of_windows(label: str, name: str, source: str) -> None:
    content = source.format(text=LATIN_1, label=label).encode("cp1252")
    declared = f"text/plain; charset={label}" if name == "a.txt" else ""
    assert parse(content, name=name, media_type=declared).blocks[0].text == LATIN_1


def test_what_is_labelled_latin_5_is_turkish_with_the_quotes_of_windows() -> None:
    text = "“Işıklar” söndü — şaşırdı"
    assert decode(text.encode("cp1254"), charset="iso-8859-9") == text


def test_bytes_that_windows_leaves_undefined_cost_no_more_than_themselves() -> None:
    assert decode(b"\x93caf\xe9\x94 \x81", charset="latin-1") == "“café” \ufffd"


@pytest.mark.parametrize("label", ["", "no-such-charset", "hex", "a\x00b"])
def test_a_label_that_names_no_charset_is_as_none(label: str) -> None:
    assert decode("Größe und Schönheit für Ärzte".encode("cp1252"), charset=label) == "Größe und Schönheit für Ärzte"


@pytest.mark.parametrize(
    "content",
    [
        b"plain text",
        b"plain\x00text",
        b"\x00" * 64,
        bytes(range(256)),
        b"\x01\x00\x02\x00" * 20,
        b"MZ\x90\x00\x03\x00" * 9,
        b"",
    ],
)
def test_data_is_not_taken_for_wide_text(content: bytes) -> None:
    assert guess_wide_charset(content) == ""


@given(st.text(st.characters(max_codepoint=0x7E, min_codepoint=0x20), min_size=1))
def test_ascii_text_in_wide_characters_is_always_recognised(text: str) -> None:
    assert guess_wide_charset(text.encode("utf-16-le")) == "utf-16-le"
    assert guess_wide_charset(text.encode("utf-16-be")) == "utf-16-be"
