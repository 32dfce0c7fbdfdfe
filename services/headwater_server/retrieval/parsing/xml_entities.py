"""What a document type declaration may declare, and what is made of it."""

from __future__ import annotations

import re
from html.entities import html5

from headwater_server.retrieval.parsing.errors import DocumentTooLargeError, DocumentUnreadableError
from headwater_server.retrieval.parsing.limits import ParseLimits

_MAX_ENTITIES = 1000
_LONGEST_VALUE = 1000
_MAX_DEFAULTS = 5000
_COST_OF_A_DEFAULT = 50
_REFERENCE = re.compile(r"&(?!(?:#\d+|#x[0-9A-Fa-f]+|amp|lt|gt|quot|apos);)")
_CHARACTER = re.compile(r"&(#\d{1,7}|#x[0-9A-Fa-f]{1,6}|amp|lt|gt|quot|apos);")
_SKIPPED = re.compile(r"&([\w.:-]{1,100});")
_PREDEFINED = {"amp": "&", "lt": "<", "gt": ">", "quot": '"', "apos": "'"}


class Entities:
    """The entities of a document: short texts that its declaration gives names. Others are not allowed.

    Nor are many or long values that a declaration gives to attributes: each element would have them again.
    """

    def __init__(self, text: str, *, limits: ParseLimits) -> None:
        self._text = text
        self._limits = limits
        self._values: dict[str, str] = {}
        self._expanded = 0
        self._defaults = 0  # what those of attributes cost, in characters

    def on_declaration(
        self,
        name: str,
        is_parameter: bool,
        value: str | None,
        _base: str | None,
        _system_id: str | None,
        _public_id: str | None,
        _notation: str | None,
    ) -> None:
        """Take a declaration from expat. Those of parameters, and of what is outside the file, are never expanded."""
        if value is not None and not is_parameter:
            self.declare(name, value)

    def on_attribute_declaration(
        self,
        _element: str,
        _attribute: str,
        _type: str,
        default: str | None,
        _is_required: bool,
    ) -> None:
        """Take a declaration of an attribute from expat.

        Raises:
            DocumentUnreadableError: There are many defaults, or long ones.
        """
        if default is not None:
            self._defaults += len(default) + _COST_OF_A_DEFAULT
        if self._defaults > _MAX_DEFAULTS:
            raise DocumentUnreadableError("the XML declares very long values for its attributes, or very many")

    def declare(self, name: str, value: str) -> None:
        """Remember an entity.

        Raises:
            DocumentUnreadableError: It is made of others, long, or one of very many: as bombs are.
            DocumentTooLargeError: All its references together are over the limit of characters.
        """
        if _REFERENCE.search(value) or "<" in value:
            raise DocumentUnreadableError("the XML declares an entity that is made of other entities or of markup")
        if len(value) > _LONGEST_VALUE or len(self._values) >= _MAX_ENTITIES:
            raise DocumentUnreadableError("the XML declares very long entities, or very many")
        self._values[name] = _CHARACTER.sub(_character, value)
        # The library expands those in attributes itself, without asking.
        self._expanded += self._text.count(f"&{name};") * len(value)
        if self._expanded > self._limits.max_characters:
            raise DocumentTooLargeError("the XML's entities expand to more than the document may have")

    def expand(self, reference: str) -> str:
        """Return what `&name;` stands for; the reference itself if that is not known."""
        match = _SKIPPED.fullmatch(reference)
        if match is None:
            return ""
        return self._values.get(match[1]) or html5.get(f"{match[1]};") or reference


def _character(match: re.Match[str]) -> str:
    name = match[1]
    if not name.startswith("#"):
        return _PREDEFINED[name]
    code = int(name[2:], 16) if name.startswith("#x") else int(name[1:])
    return chr(code) if code < 0x110000 else "\ufffd"
