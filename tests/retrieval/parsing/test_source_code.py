from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headwater_server.retrieval import parsing
from headwater_server.retrieval.model import ParsedDocument
from headwater_server.retrieval.parsing import DocumentUnreadableError, parse, readable_suffixes
from headwater_server.retrieval.parsing.languages import LANGUAGES
from headwater_server.retrieval.parsing.text import clean
from headwater_server.retrieval.splitting import split
from headwater_server.retrieval.splitting.settings import SplitSettings


def read(source: str, *, name: str) -> ParsedDocument:
    return parse(source.encode(), name=name)


def headings(source: str, *, name: str) -> list[tuple[int, str]]:
    return [(block.level, block.text) for block in read(source, name=name).blocks if block.level]


PYTHON = '''"""The module."""

import os


class Yak(Animal):
    """A yak."""

    @property
    def hair(self) -> str:
        return "long"

    def shave(
        self,
        times: int,
    ) -> None:
        self.times = times


# Counts yaks.
async def count(yaks):
    return len(yaks)


if __name__ == "__main__":
    print(count([]))
'''


def test_python_is_read_with_its_definitions_as_headings() -> None:
    document = read(PYTHON, name="src/yak.py")
    assert (document.unit, document.title, document.media_type) == ("line", "yak.py", "text/x-python")
    assert [(block.level, block.text, block.source.locate(0, len(block.text))) for block in document.blocks] == [
        (0, '"""The module."""', (1, 1)),
        (0, "import os", (3, 3)),
        (1, "class Yak(Animal):", (6, 6)),
        (0, '    """A yak."""', (7, 7)),
        (2, "    @property\n    def hair(self) -> str:", (9, 10)),
        (0, '        return "long"', (11, 11)),
        (2, "    def shave(\n        self,\n        times: int,\n    ) -> None:", (13, 16)),
        (0, "        self.times = times", (17, 17)),
        (1, "# Counts yaks.\nasync def count(yaks):", (20, 21)),
        (0, "    return len(yaks)", (22, 22)),
        (1, 'if __name__ == "__main__":', (25, 25)),
        (0, "    print(count([]))", (26, 26)),
    ]


def test_a_passage_stands_under_the_definitions_around_it() -> None:
    body = "\n".join(f"        self.step_{number}()  # and so on" for number in range(100))
    passages = split(read(f"class Yak:\n    def shave(self):\n{body}\n", name="a.py"))
    assert len(passages) > 2
    assert {passage.heading for passage in passages[1:]} == {"class Yak: > def shave(self):"}


@pytest.mark.parametrize(
    ("name", "source", "expected"),
    [
        ("a.go", "func (y *Yak) Shave(n int) error {\n\treturn nil\n}", ["func (y *Yak) Shave(n int) error {"]),
        ("a.rs", "/// A.\npub fn a<T>(y: &T) -> u8 {\n    1\n}", ["/// A.\npub fn a<T>(y: &T) -> u8 {"]),
        ("a.c", "static int\nshave (struct yak *y)\n{\n  if (y) return 1;\n}", ["static int\nshave (struct yak *y)"]),
        ("a.h", "int shave(struct yak *y);\nstruct yak {\n  int hair;\n};", ["struct yak {"]),
        ("A.java", "public class A {\n    public int b(int c) {\n        if (c > 1) {\n        }\n    }\n}", [
            "public class A {", "    public int b(int c) {"]),
        ("a.ts", "export const f = (x) => {\n};\ninterface I {\n}", ["export const f = (x) => {", "interface I {"]),
        ("a.js", "class A {\n  async b(c) {\n    d(e);\n  }\n}", ["class A {", "  async b(c) {"]),
        ("a.rb", "module A\n  def b!(c)\n    c\n  end\nend", ["module A", "  def b!(c)"]),
        ("a.sh", "shave() {\n  echo x\n}", ["shave() {"]),
        ("a.sql", "CREATE TABLE yaks (\n  id int\n);\nSELECT 1;", ["CREATE TABLE yaks ("]),
        ("a.toml", "[tool.yak]\na = 1\n[[list]]\nb = [1]", ["[tool.yak]", "[[list]]"]),
        ("a.ini", "[yak]\na = [1]", ["[yak]"]),
        ("a.yaml", "services:\n  web:\n    image: x\n- item", ["services:", "  web:"]),
        ("a.el", "(defun shave (yak)\n  (list yak))", ["(defun shave (yak)"]),
        ("a.hs", "shave :: Yak -> Yak\nshave y = y", ["shave :: Yak -> Yak"]),
        ("a.pl", "=head1 NAME\n\nyak\n\nsub shave {\n}", ["=head1 NAME", "sub shave {"]),
        ("a.proto", "message Yak {\n  string hair = 1;\n}\nservice S {\n  rpc Shave(Yak) returns (Yak);\n}", [
            "message Yak {", "service S {"]),
        ("a.tf", 'resource "yak" "a" {\n  hair = 1\n}', ['resource "yak" "a" {']),
        ("a.f90", "SUBROUTINE shave(y)\n  y = 1\nEND", ["SUBROUTINE shave(y)"]),
        ("a.cpp", "/* A\n   program is free software */\nnamespace a {\nclass B : public C {\n};\n}", [
            "namespace a {", "class B : public C {"]),
        ("a.css", ".yak { color: brown }", []),
    ],
)  # fmt: skip
def test_definitions_are_found_in_many_languages(name: str, source: str, expected: list[str]) -> None:
    assert [text for _, text in headings(source, name=name)] == expected


def test_a_long_comment_stands_before_what_it_is_about_and_under_its_name() -> None:
    comment = "\n".join(f"// Line {number} of a comment that is long." for number in range(10))
    document = read(f"func A() {{\n}}\n\n{comment}\nfunc B() {{\n\treturn\n}}", name="a.go")
    assert [(block.level, block.source.starts[0]) for block in document.blocks] == [
        (1, 1),
        (0, 2),
        (1, 4),
        (1, 14),
        (0, 15),
    ]
    settings = SplitSettings(max_characters=300)
    commented = [passage for passage in split(document, settings=settings) if "a comment" in passage.text]
    assert len(commented) > 1
    assert {passage.heading for passage in commented[1:]} == {"func B() {"}


@pytest.mark.parametrize("suffix", sorted(suffix for language in LANGUAGES for suffix in language.suffixes))
def test_every_ending_is_read_and_nothing_is_left_out(suffix: str) -> None:
    document = read(PYTHON, name=f"a{suffix}")
    text = "".join(block.text for block in document.blocks)
    assert sorted("".join(text.split())) == sorted("".join(PYTHON.split()))
    assert suffix in readable_suffixes()


def test_real_source_is_read_without_loss_and_with_its_lines() -> None:
    for path in sorted(Path(parsing.__file__).parent.glob("*.py"))[:20]:
        source = path.read_text()
        lines = source.split("\n")
        document = read(source, name=str(path))
        for block in document.blocks:
            for number, line in enumerate(block.text.split("\n"), start=block.source.starts[0]):
                assert lines[number - 1] == line
        assert sorted("".join("".join(block.text for block in document.blocks).split())) == sorted(
            "".join(source.split())
        )


def test_an_empty_file_is_unreadable() -> None:
    with pytest.raises(DocumentUnreadableError, match="white space"):
        read("\n\n", name="a.py")


LINES = st.one_of(
    st.sampled_from(["def f(x):", "class A:", "int f(", "  return x", "}", "// c", "[a]", "a:", "", "fn x() {", "\t)"]),
    st.text(st.characters(exclude_categories=["Cs", "Cc"]), max_size=30),
)


@given(
    st.lists(LINES, max_size=30), st.sampled_from([".py", ".c", ".js", ".yaml", ".ini", ".sql", ".go", ".java", ".sh"])
)
def test_every_line_comes_out_once_and_where_it_stood(lines: list[str], suffix: str) -> None:
    source = "\n".join(["first", *lines])
    document = read(source, name=f"a{suffix}")
    cleaned = clean(source).split("\n")
    seen: list[int] = []
    for block in document.blocks:
        for number, line in enumerate(block.text.split("\n"), start=block.source.starts[0]):
            assert cleaned[number - 1].rstrip() == line
            seen.append(number)
    assert sorted(seen) == [number for number, line in enumerate(cleaned, start=1) if line.strip()]
