"""Every case of tests/conformance, through both clients."""

from __future__ import annotations

from typing import Any

import pytest

from headwater import (
    Answer,
    AsyncAnswer,
    AsyncClient,
    CallError,
    Client,
    ConnectionLost,
    DataLoss,
    HeadwaterError,
    ProtocolError,
    citation_span,
    render_with_citations,
)
from tests.conformance.cases import Case, load_cases

CASES = [case for case in load_cases().values() if case.expect["outcome"] != "held"]
OUTCOMES: dict[str, type[HeadwaterError]] = {
    "failed": CallError,
    "connection_lost": ConnectionLost,
    "protocol_error": ProtocolError,
    "data_loss": DataLoss,
}

every_case = pytest.mark.parametrize("case", CASES, ids=[case.name for case in CASES])


@every_case
def test_the_client_sees_what_the_case_expects(case: Case, client: Client) -> None:
    pieces: list[str] = []
    error: HeadwaterError | None = None
    with client.answer(case.name, chat=case.chat or None) as answer:
        if case.action == "cancel_at_once":
            answer.cancel()
        try:
            for piece in answer:
                pieces.append(piece)
                if case.action == "cancel" and len(pieces) == 1:
                    answer.cancel()
        except HeadwaterError as raised:
            error = raised
    check(case, answer, pieces, error)


@every_case
@pytest.mark.anyio
async def test_the_async_client_sees_what_the_case_expects(case: Case, async_client: AsyncClient) -> None:
    pieces: list[str] = []
    error: HeadwaterError | None = None
    async with async_client.answer(case.name, chat=case.chat or None) as answer:
        if case.action == "cancel_at_once":
            await answer.cancel()
        try:
            async for piece in answer:
                pieces.append(piece)
                if case.action == "cancel" and len(pieces) == 1:
                    await answer.cancel()
        except HeadwaterError as raised:
            error = raised
    check(case, answer, pieces, error)


def check(case: Case, answer: Answer | AsyncAnswer, pieces: list[str], error: HeadwaterError | None) -> None:
    expect = case.expect
    if "pieces" in expect:
        assert pieces == expect["pieces"]
    assert answer.partial == "".join(pieces)
    if expect["outcome"] == "finished":
        assert error is None
        check_finished(answer, "".join(pieces), expect)
    else:
        assert type(error) is OUTCOMES[expect["outcome"]] or (expect["outcome"] == "failed" and error is not None)
        check_failed(answer, error, expect)


def check_finished(answer: Answer | AsyncAnswer, text: str, expect: dict[str, Any]) -> None:
    assert str(answer) == text == expect.get("text", text)
    assert answer.finish_reason.name == expect["finish_reason"]
    assert (answer.abstain_reason.name if answer.abstain_reason else None) == expect.get("abstain_reason")
    assert len(answer.sources) == expect["sources"]
    assert answer.unknown_events == expect.get("unknown_events", 0)
    assert answer.message.chat == expect.get("chat", "")
    assert answer.unlogged == expect.get("unlogged", False)
    assert answer.timings.continuations == expect.get("continuations", 0)
    spans = [citation_span(text, citation) for citation in answer.citations]
    assert [text[start:end] for start, end in spans] == expect.get("citations", [])
    if "rendered" in expect:
        assert render_with_citations(answer) == expect["rendered"]


def check_failed(answer: Answer | AsyncAnswer, error: HeadwaterError | None, expect: dict[str, Any]) -> None:
    assert isinstance(error, CallError | ProtocolError)
    assert error.partial == expect["partial"]
    assert error.request_id == answer.request_id
    assert error.__cause__ is None
    assert error.__suppress_context__ or error.__context__ is None
    if isinstance(error, CallError) and expect["outcome"] == "failed":
        assert error.code == expect["code"]
        assert error.reason == expect["reason"]
        assert error.answer == expect.get("answer", error.answer)
        assert error.retry_after == expect.get("retry_after")
        assert expect.get("metadata", {}).items() <= error.metadata.items()
        assert [(each.field, each.description) for each in error.violations] == [
            tuple(each) for each in expect.get("violations", [])
        ]
    with pytest.raises(type(error)) as again:
        str(answer)
    assert again.value is error
