from __future__ import annotations

import re

import pytest

import headwater
from headwater import exception_table
from headwater.v1.error_reason_pb2 import ErrorReason
from headwater_server.errors import Reason
from headwater_server.runtime.status import CODE_OF_REASON
from tests.docs.fences import ROOT

_ROW = re.compile(
    r"^\| `(?P<code>[A-Z_]+)` \| (?:–|`(?P<reason>[A-Z_]+)`) \| `(?P<exception>\w+)` \|(?P<rest>.*)\|$", re.M
)


def _rows(text: str) -> dict[tuple[str, str], str]:
    """Exceptions by status and reason."""
    rows = [((match["code"], match["reason"] or ""), match["exception"]) for match in _ROW.finditer(text)]
    assert len(rows) == len(dict(rows)), "a row stands there twice"
    return dict(rows)


@pytest.fixture(scope="module")
def page() -> str:
    return (ROOT / "docs/errors.md").read_text(encoding="utf-8")


def test_the_table_is_that_of_the_client(page: str) -> None:
    assert _rows(page) == _rows(exception_table())


def test_every_reason_stands_in_the_table_with_the_status_the_server_sends(page: str) -> None:
    rows = _rows(page)
    assert {(code.name, reason.value) for reason, code in CODE_OF_REASON.items()} <= rows.keys()
    assert {reason for _, reason in rows if reason} == {reason.value for reason in Reason}


def test_server_and_protos_have_the_same_reasons() -> None:
    names = {name.removeprefix("ERROR_REASON_") for name in ErrorReason.keys()}  # noqa: SIM118 (a wrapper, no mapping)
    assert names - {"UNSPECIFIED"} == {reason.value for reason in Reason}


@pytest.mark.parametrize("reason", list(Reason))
def test_the_protos_name_the_status_the_server_sends(reason: Reason) -> None:
    text = (ROOT / "protos/headwater/v1/error_reason.proto").read_text(encoding="utf-8")
    comment = re.search(rf"((?:  //[^\n]*\n)+)  ERROR_REASON_{reason.value} =", text)
    assert comment is not None
    statuses = re.findall(r"Status ([A-Z_]+)", comment[1].replace("\n  // ", " "))
    assert statuses[:1] == [CODE_OF_REASON[reason].name]


def test_every_row_says_what_happened_and_what_to_do(page: str) -> None:
    for match in _ROW.finditer(page):
        happened, to_do = match["rest"].split("|")
        assert happened.strip().endswith(".")
        assert to_do.strip().endswith(".")


def test_every_exception_of_a_call_is_on_the_page(page: str) -> None:
    public = [getattr(headwater, name) for name in headwater.__all__]
    leaves = {
        each.__name__
        for each in public
        if isinstance(each, type) and issubclass(each, headwater.CallError) and not each.__subclasses__()
    }
    assert leaves
    assert {name for name in leaves if f"`{name}`" not in page} == set()
