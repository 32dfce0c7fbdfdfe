"""What a `headwater.v1.Filter` means, in plain Python: the meaning that every store is held to."""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping
from typing import Any

from headwater.v1 import filter_pb2
from headwater_server.errors import InvalidRequest
from headwater_server.retrieval.store.metadata_values import Kind, check_value, from_proto, kind_of, to_stored
from headwater_server.retrieval.store.protocol import DocumentRecord, MetadataValue

MAX_DEPTH = 16
"""How deep filters may nest; a lone comparison has depth 1."""

DOCUMENT_FIELDS = {
    "document.title": operator.attrgetter("title"),
    "document.uri": operator.attrgetter("uri"),
    "document.media_type": operator.attrgetter("media_type"),
}
"""The keys that name a document's own fields, which hide metadata under the same keys; an empty field is absent."""

_Op = filter_pb2.ComparisonOperator
_ORDERINGS: Mapping[int, Callable[[Any, Any], bool]] = {
    _Op.COMPARISON_OPERATOR_EQ: operator.eq,
    _Op.COMPARISON_OPERATOR_NE: operator.ne,
    _Op.COMPARISON_OPERATOR_LT: operator.lt,
    _Op.COMPARISON_OPERATOR_LE: operator.le,
    _Op.COMPARISON_OPERATOR_GT: operator.gt,
    _Op.COMPARISON_OPERATOR_GE: operator.ge,
}
_EQUALITIES = (_Op.COMPARISON_OPERATOR_EQ, _Op.COMPARISON_OPERATOR_NE)
_MEMBERSHIPS = (_Op.COMPARISON_OPERATOR_IN, _Op.COMPARISON_OPERATOR_NOT_IN)


def check_filter(condition: filter_pb2.Filter, *, field: str = "filter") -> None:
    """Refuses a filter that has no meaning.

    Args:
        condition: The filter.
        field: Where it stands in the request, for the error.

    Raises:
        InvalidRequest: It is nested deeper than 16 levels, a part has nothing set, or a comparison lacks its operands.
    """
    _check(condition, field, depth=1)


def _check(condition: filter_pb2.Filter, field: str, *, depth: int) -> None:
    if depth > MAX_DEPTH:
        raise InvalidRequest(field, f"filters nest at most {MAX_DEPTH} levels deep")
    match condition.WhichOneof("condition"):
        case "all_of":
            for position, part in enumerate(condition.all_of.filters):
                _check(part, f"{field}.all_of.filters[{position}]", depth=depth + 1)
        case "any_of":
            for position, part in enumerate(condition.any_of.filters):
                _check(part, f"{field}.any_of.filters[{position}]", depth=depth + 1)
        case "negate":
            _check(condition.negate, f"{field}.negate", depth=depth + 1)
        case "comparison":
            _check_comparison(condition.comparison, f"{field}.comparison")
        case _:
            raise InvalidRequest(field, "one of all_of, any_of, negate, comparison must be set")


def _check_comparison(comparison: filter_pb2.Comparison, field: str) -> None:
    if not comparison.key:
        raise InvalidRequest(f"{field}.key", "must not be empty")
    if fault := _operand_fault(comparison):
        raise InvalidRequest(field, fault)
    operands = [(f"{field}.values[{position}]", value) for position, value in enumerate(comparison.values)]
    if comparison.HasField("value"):
        operands.append((f"{field}.value", comparison.value))
    for path, operand in operands:
        try:
            check_value(from_proto(operand))
        except (ValueError, OverflowError) as error:
            raise InvalidRequest(path, str(error)) from error


def _operand_fault(comparison: filter_pb2.Comparison) -> str:
    """What is wrong with an operator and the presence of its operands; empty if nothing is."""
    given = (comparison.HasField("value"), bool(comparison.values))
    if comparison.op in _ORDERINGS:
        return "" if given == (True, False) else "EQ, NE, LT, LE, GT and GE take exactly `value`"
    if comparison.op in _MEMBERSHIPS:
        return "" if given == (False, True) else "IN and NOT_IN take `values`, at least one"
    if comparison.op == _Op.COMPARISON_OPERATOR_EXISTS:
        return "" if given == (False, False) else "EXISTS takes no value"
    return "op must be one of the comparison operators"


def matches(condition: filter_pb2.Filter, document: DocumentRecord) -> bool:
    """Whether a document fulfils a filter that `check_filter` has passed.

    A list of strings under IN and NOT_IN is compared element by element with the given strings; an operand of IN and
    NOT_IN that is itself a list equals no value.
    """
    match condition.WhichOneof("condition"):
        case "all_of":
            return all(matches(part, document) for part in condition.all_of.filters)
        case "any_of":
            return any(matches(part, document) for part in condition.any_of.filters)
        case "negate":
            return not matches(condition.negate, document)
        case _:
            return _holds(condition.comparison, document)


def value_under(key: str, document: DocumentRecord) -> MetadataValue | None:
    """What a filter finds under a key: a field of the document's own, or its metadata; None where it is absent."""
    if own_field := DOCUMENT_FIELDS.get(key):
        own: str = own_field(document)
        return own or None
    return document.metadata.get(key)


def _holds(comparison: filter_pb2.Comparison, document: DocumentRecord) -> bool:
    value = value_under(comparison.key, document)
    if value is None:
        return False
    if comparison.op == _Op.COMPARISON_OPERATOR_EXISTS:
        return True
    if comparison.op in _MEMBERSHIPS:
        wanted = comparison.op == _Op.COMPARISON_OPERATOR_IN
        return _is_member(value, [from_proto(each) for each in comparison.values], wanted=wanted)
    return _compares(value, comparison.op, from_proto(comparison.value))


def _compares(value: MetadataValue, op: int, operand: MetadataValue) -> bool:
    kind, stored = to_stored(value)
    operand_kind, operand_stored = to_stored(operand)
    if kind is not operand_kind or (kind is Kind.STRING_LIST and op not in _EQUALITIES):
        return False
    return _ORDERINGS[op](stored, operand_stored)


def _is_member(value: MetadataValue, operands: list[MetadataValue], *, wanted: bool) -> bool:
    """Whether any element of the value is among the operands (`wanted`), or none is while the types agree."""
    elements: tuple[MetadataValue, ...] = value if isinstance(value, tuple) else (value,)
    kind = Kind.STRING if isinstance(value, tuple) else kind_of(value)
    comparable = {to_stored(operand)[1] for operand in operands if kind_of(operand) is kind}
    if not comparable:
        return False
    return any(to_stored(element)[1] in comparable for element in elements) is wanted
