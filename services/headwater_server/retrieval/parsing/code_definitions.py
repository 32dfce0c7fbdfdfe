"""Finding the definitions in source code, by the look of their lines.

That is no parser: it may miss a definition, or take a line within a long string for one. What it says only names the
passages; their text is the whole of the file in any case.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import NamedTuple

_DEEPEST = 3
_MAX_SIGNATURE_LINES = 8
_MAX_COMMENT_LINES = 60
_TAB = 4
_LONGEST_LINE = 400

_IDENTIFIER = r"[\w$@:.~<>?!*&'\"-]+"
_MODIFIERS = r"""(?:(?:export|default|declare|public|private|protected|internal|static|final|abstract|async|sealed|
    partial|open|override|data|suspend|inline|virtual|unsafe|local|case|companion|implicit|lazy|const|constexpr|typedef|
    pub(?:\([^)]*\))?|extern(?:\s*"[^"]*")?|recursive|pure|elemental|create(?:\s+or\s+replace)?)\s+)*"""
_RECEIVER = r"(?:\([^)]*\)\s*)?"  # of a method in Go


def _defined_by(keywords: str, *, flags: int = 0) -> re.Pattern[str]:
    """Return a pattern of lines that define something by one of these keywords, modifiers before it or not."""
    words = "|".join(keywords.split())
    return re.compile(
        rf"\s*{_MODIFIERS}(?:{words})(?:\s+|(?=<)){_RECEIVER}{_IDENTIFIER}.*(?<![.,;])", re.VERBOSE | flags
    )


_BY_KEYWORD = _defined_by(
    "class struct enum union interface trait impl module namespace protocol extension object record mixin contract def "
    "defp defmodule defmacro func function function! fn fun proc type actor macro"
)
_OF_TYPES = _defined_by("class struct enum union interface record namespace @interface")
_OLD_STYLE = _defined_by(
    "program module subroutine function procedure package entity architecture type interface class record sub",
    flags=re.IGNORECASE,
)
# A function without a keyword: `int main(…`, `static Foo *bar(…`, `name() {`; not a statement, and not a declaration.
_STATEMENTS = r"(?!(?:if|for|while|switch|return|else|catch|do|new|throw|case|delete|sizeof|assert|await|yield)\b)"
_FUNCTION = re.compile(rf"\s*+{_STATEMENTS}(?:[\w:<>,*&\[\]\s]*[\s*&])?[\w:~]+\s*\((?:[^;=]|=\s*\w)*[^;,=]", re.A)
_ARROW = re.compile(
    r"(?:export\s+)?(?:default\s+)?(?:const|let|var)\s+\w+\s*=\s*(?:async\s*)?(?:function\b|\(|\w+\s*=>).*"
)
_MEMBERS = re.compile(r"\s*(?:(?:async|static|get|set|public|private|protected)\s+)*#?\w+\s*\([^;]*\)[^;]*\{\s*")

_PYTHON = re.compile(r"\s*(?:(?:async\s+)?def\s+\w+\s*[(\[]|(?:cdef\s+)?class\s+\w+\s*[(:\[]|cp?def\s+[^=]*\().*")
_PATTERNS: dict[str, tuple[re.Pattern[str], ...]] = {
    "text/x-python": (_PYTHON,),
    "text/x-ini": (re.compile(r"\[[^\]]+\].*"),),
    "application/toml": (re.compile(r"\[\[?[^\]]+\]\]?\s*(?:#.*)?"),),
    "application/yaml": (re.compile(r"""\s*(?!-)[\w"'./$-][^#:]{0,100}:\s*(?:#.*|&\w+|[|>][+-]?)?"""),),
    "application/sql": (
        re.compile(r"(?:create|alter)\s+(?!index\b)[^;]*", re.I),
        re.compile(r"(?:insert\s+into|with|merge\s+into)\s+\w.*", re.I),
    ),
    "text/x-haskell": (
        re.compile(r"[\w']+\s*::\s.*"),
        re.compile(r"(?:data|newtype|class|instance|module|type)\s+[A-Z(].*"),
    ),
    "text/x-ocaml": (re.compile(r"(?:let(?:\s+rec)?|module|type|class|external|val|exception)\s+[\w(].*"),),
    "text/x-lisp": (re.compile(r"\((?:def|cl-def)[\w-]*\s+\S.*", re.I),),
    "text/x-clojure": (re.compile(r"\((?:def|ns)[\w-]*\s+\S.*"),),
    "text/x-erlang": (re.compile(r"[a-z]\w*\(.*\)\s*(?:when\b.*)?->.*"),),
    "text/x-r": (re.compile(r"[\w.]+\s*(?:<-|=)\s*function\s*\(.*"),),
    "text/x-makefile": (re.compile(r"[\w.%/$()-]+(?:\s+[\w.%/$()-]+)*\s*:(?!=).*"),),
    "text/x-batch": (re.compile(r":\w+.*"),),
    "text/x-assembly": (),
    "text/css": (),
    "text/x-shellscript": (re.compile(r"(?:function\s+[\w:.-]+.*|[\w:.-]+\s*\(\)\s*\{?.*)"),),
    "text/x-perl": (re.compile(r"(?:sub|package)\s+[\w:]+.*"), re.compile(r"=head[1-4]\s.*")),
    "text/javascript": (_BY_KEYWORD, _ARROW, _MEMBERS),
    "text/x-typescript": (_BY_KEYWORD, _ARROW, _MEMBERS),
    "text/x-vue": (_BY_KEYWORD, _ARROW),
    "text/x-protobuf": (_defined_by("message service rpc enum extend struct union exception"),),
    "text/x-hcl": (_defined_by("resource data variable output provider module"),),
    "text/x-fortran": (_OLD_STYLE,),
    "text/x-pascal": (_OLD_STYLE,),
    "text/x-ada": (_OLD_STYLE,),
    "text/x-basic": (_OLD_STYLE,),
    "text/x-verilog": (_OLD_STYLE,),
    "text/x-powershell": (_OLD_STYLE,),
}
_WITH_FUNCTIONS = frozenset(
    {"text/x-c", "text/x-c++", "text/x-csharp", "text/x-java", "text/x-objective-c", "text/x-dart", "text/x-groovy"}
)
# In these the top of a file has functions only, and calls look like them within.
_TOP_LEVEL_FUNCTIONS = frozenset({"text/x-c", "text/x-objective-c"})
# In these a definition is what a line says, and parentheses are its content.
_ONE_LINE = frozenset({"application/sql", "text/x-lisp", "text/x-clojure"})
# In these a definition ends where the next one begins, not where it is no longer indented.
_SECTIONS = frozenset({"text/x-ini", "application/toml", "text/x-perl", "text/x-batch", "text/x-makefile"})
_FOR_FUNCTIONS = (_OF_TYPES, _FUNCTION)

_COMMENT = re.compile(r"\s*(?:[#@*;%!]|//|/\*|--|\(\*|\{-|\"\"\"|'''|\[\w|\[<|rem\b|template\s*<)", re.I)
# In C the type that a function returns may have the line above.
_RETURN_TYPE = re.compile(r"[A-Za-z_][\w \t*]*")
_END = re.compile(r"\s*(?:[\])}>]|end\b|esac\b|fi\b|done\b|else\b|#|//|/\*|\*)", re.I)


class Definition(NamedTuple):
    """Lines that define something, by index."""

    comment: int
    """Where the comment or the decorators right above begin; `start` if there are none."""
    start: int
    end: int
    """The line after its first lines: the signature, without what it defines."""
    level: int
    """1 to 3: how deep it is within other definitions."""


def find_definitions(lines: Sequence[str], media_type: str) -> Iterator[Definition]:
    """Yield the definitions in source code, in order, those not within more than two others.

    What stands outside of all definitions, after one, has its first line given as one: it is not in the one before.
    """
    patterns = _FOR_FUNCTIONS if media_type in _WITH_FUNCTIONS else _PATTERNS.get(media_type, (_BY_KEYWORD,))
    defines = frozenset(index for index, line in enumerate(lines) if _defines(line, patterns, media_type))
    around: list[int] = []  # the indents of the definitions around a line
    taken = 0  # what is before belongs to a definition already
    for index, line in enumerate(lines):
        if index < taken or not line.strip():
            continue
        indent = _indent(line)
        if index not in defines:
            is_section = media_type in _SECTIONS or index + 1 in defines
            if is_section or not _opens_outside(lines, index, indent, around):
                continue
        outer = [each for each in around if each < indent]
        if len(outer) >= _DEEPEST:
            continue
        is_long = index in defines and media_type not in _ONE_LINE
        end = _signature_end(lines, index) if is_long else index + 1
        comment = _comment_start(lines, index, taken, has_types=media_type in _WITH_FUNCTIONS)
        yield Definition(comment, index, end, len(outer) + 1)
        around = [*outer, indent]
        taken = end


def _defines(line: str, patterns: Sequence[re.Pattern[str]], media_type: str) -> bool:
    if not line.strip() or len(line) > _LONGEST_LINE or (media_type in _TOP_LEVEL_FUNCTIONS and line[0].isspace()):
        return False
    return any(pattern.fullmatch(line.rstrip()) for pattern in patterns)


def _opens_outside(lines: Sequence[str], index: int, indent: int, around: Sequence[int]) -> bool:
    """Return whether a line that defines nothing is the first after the end of the definitions before it."""
    is_after_blank = index > 0 and not lines[index - 1].strip()
    return bool(around) and indent == 0 and around[0] == 0 and is_after_blank and not _END.match(lines[index])


def _indent(line: str) -> int:
    stripped = line.lstrip()
    return len(line[: len(line) - len(stripped)].expandtabs(_TAB))


def _comment_start(lines: Sequence[str], start: int, after: int, *, has_types: bool) -> int:
    first = start
    for index in range(start - 1, max(after, start - _MAX_COMMENT_LINES) - 1, -1):
        is_type = has_types and index == start - 1 and _RETURN_TYPE.fullmatch(lines[index])
        if not is_type and not _COMMENT.match(lines[index]):
            break
        first = index
    return first


def _signature_end(lines: Sequence[str], start: int) -> int:
    """Return the line after a signature, which may have its parameters in lines of their own."""
    depth = 0
    for index in range(start, min(start + _MAX_SIGNATURE_LINES, len(lines))):
        line = lines[index]
        depth += line.count("(") - line.count(")")
        if depth <= 0:
            return index + 1
    return start + 1
