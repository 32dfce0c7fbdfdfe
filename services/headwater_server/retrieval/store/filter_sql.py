"""Filters as SQL over `document_values`: exactly the meaning of `filters.matches`, decided by SQLite.

Every value of a document is a row there (corpus, document, key, kind, value); a list of strings is one row of kind
`l`, its JSON, and a row of kind `e` for each element. The document's own fields are rows like the others.
"""

from __future__ import annotations

from collections.abc import Iterator

from headwater.v1 import filter_pb2
from headwater_server.retrieval.store.filters import DOCUMENT_FIELDS, value_under
from headwater_server.retrieval.store.metadata_values import Kind, Stored, from_proto, to_stored
from headwater_server.retrieval.store.protocol import DocumentRecord

ELEMENT = "e"
"""The kind of a row that is one element of a list of strings."""

MAX_COMPARISONS = 200
"""Filters with more comparisons are evaluated in Python: SQLite bounds the depth of an expression."""

_Op = filter_pb2.ComparisonOperator
_SIGNS = {
    _Op.COMPARISON_OPERATOR_EQ: "=",
    _Op.COMPARISON_OPERATOR_NE: "<>",
    _Op.COMPARISON_OPERATOR_LT: "<",
    _Op.COMPARISON_OPERATOR_LE: "<=",
    _Op.COMPARISON_OPERATOR_GT: ">",
    _Op.COMPARISON_OPERATOR_GE: ">=",
}
_EQUALITIES = (_Op.COMPARISON_OPERATOR_EQ, _Op.COMPARISON_OPERATOR_NE)

Compiled = tuple[str, list[Stored]]


def value_rows(document: DocumentRecord) -> Iterator[tuple[str, str, Stored]]:
    """The (key, kind, value) rows under which filters find a document."""
    for key in {*DOCUMENT_FIELDS, *document.metadata}:
        value = value_under(key, document)
        if value is None:
            continue
        kind, stored = to_stored(value)
        yield key, kind, stored
        if isinstance(value, tuple):
            for element in dict.fromkeys(value):
                yield key, ELEMENT, element


def count_comparisons(condition: filter_pb2.Filter) -> int:
    """How many comparisons and list nodes a filter has."""
    match condition.WhichOneof("condition"):
        case "all_of":
            return 1 + sum(map(count_comparisons, condition.all_of.filters))
        case "any_of":
            return 1 + sum(map(count_comparisons, condition.any_of.filters))
        case "negate":
            return 1 + count_comparisons(condition.negate)
        case _:
            return 1 + len(condition.comparison.values) // 16


def compile_filter(condition: filter_pb2.Filter, corpus_row: int) -> Compiled:
    """An SQL condition on `documents.id` that holds for the documents of a corpus that fulfil the filter."""
    match condition.WhichOneof("condition"):
        case "all_of":
            return _joined([compile_filter(part, corpus_row) for part in condition.all_of.filters], " AND ", "1")
        case "any_of":
            return _joined([compile_filter(part, corpus_row) for part in condition.any_of.filters], " OR ", "0")
        case "negate":
            sql, values = compile_filter(condition.negate, corpus_row)
            return f"NOT {sql}", values
        case _:
            return _comparison(condition.comparison, corpus_row)


def _joined(parts: list[Compiled], by: str, empty: str) -> Compiled:
    if not parts:
        return empty, []
    return f"({by.join(sql for sql, _ in parts)})", [value for _, values in parts for value in values]


def _comparison(comparison: filter_pb2.Comparison, corpus_row: int) -> Compiled:
    op = comparison.op
    if op == _Op.COMPARISON_OPERATOR_EXISTS:
        return _documents(corpus_row, comparison.key, "kind <> ?", [ELEMENT])
    if op in _SIGNS:
        kind, stored = to_stored(from_proto(comparison.value))
        if kind is Kind.STRING_LIST and op not in _EQUALITIES:
            return "0", []
        return _documents(corpus_row, comparison.key, f"kind = ? AND value {_SIGNS[op]} ?", [kind, stored])
    by_kind = _by_kind(comparison)
    if op == _Op.COMPARISON_OPERATOR_IN:
        return _is_in(corpus_row, comparison.key, by_kind)
    return _is_not_in(corpus_row, comparison.key, by_kind)


def _documents(corpus_row: int, key: str, condition: str, values: list[Stored]) -> Compiled:
    sql = (
        "id IN (SELECT document_row FROM document_values"  # noqa: S608 (the condition is ours, its values are bound)
        f" WHERE corpus_row = ? AND key = ? AND {condition})"
    )
    return sql, [corpus_row, key, *values]


def _by_kind(comparison: filter_pb2.Comparison) -> dict[str, list[Stored]]:
    by_kind: dict[str, list[Stored]] = {}
    for kind, stored in (to_stored(from_proto(value)) for value in comparison.values):
        if kind is not Kind.STRING_LIST:
            by_kind.setdefault(kind, []).append(stored)
    return by_kind


def _is_in(corpus_row: int, key: str, by_kind: dict[str, list[Stored]]) -> Compiled:
    kinds = dict(by_kind)
    if strings := by_kind.get(Kind.STRING):
        kinds[ELEMENT] = strings
    parts = [
        _documents(corpus_row, key, f"kind = ? AND value IN ({_marks(values)})", [kind, *values])
        for kind, values in kinds.items()
    ]
    return _joined(parts, " OR ", "0")


def _is_not_in(corpus_row: int, key: str, by_kind: dict[str, list[Stored]]) -> Compiled:
    parts = [
        _documents(corpus_row, key, f"kind = ? AND value NOT IN ({_marks(values)})", [kind, *values])
        for kind, values in by_kind.items()
    ]
    if strings := by_kind.get(Kind.STRING):
        is_list = _documents(corpus_row, key, "kind = ?", [Kind.STRING_LIST])
        has_one = _documents(corpus_row, key, f"kind = ? AND value IN ({_marks(strings)})", [ELEMENT, *strings])
        parts.append((f"({is_list[0]} AND NOT {has_one[0]})", [*is_list[1], *has_one[1]]))
    return _joined(parts, " OR ", "0")


def _marks(values: list[Stored]) -> str:
    return ",".join("?" * len(values))
