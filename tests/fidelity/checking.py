"""Whether what came out is what must come out."""

from __future__ import annotations

from headwater.v1 import answer_pb2
from tests.fidelity.asking import Heard, checksum
from tests.fidelity.citing import Said, citations_said, citations_to_find, pages_cited, plain
from tests.fidelity.recordings import Recording
from tests.fidelity.shapes import Case

_CUT_REASONS = {"PROVIDER_TRUNCATED", "PROVIDER_UNAVAILABLE"}


def problems(case: Case, heard: Heard) -> list[str]:
    """What is wrong with an answer; empty if nothing is."""
    recording = case.recording
    found = _of_what_was_kept(heard)
    if case.is_cut:
        return [*found, *_of_a_cut(recording, heard)]
    if recording.finish is None:
        return [*found, *_of_a_failure(recording, heard)]
    return [*found, *_of_a_whole_answer(recording, heard)]


def _of_what_was_kept(heard: Heard) -> list[str]:
    found = _differing("kept text", heard.kept.text, heard.text)
    if heard.reason and heard.kept.state != answer_pb2.ANSWER_STATE_FAILED:
        found.append(f"a failed answer is kept in state {heard.kept.state}")
    if heard.kept.text_crc32c != checksum(heard.text):
        found.append("the checksum is another")
    if not heard.reason and heard.answer is None:
        found.append("OK without a terminal answer")
    return found


def _of_a_whole_answer(recording: Recording, heard: Heard) -> list[str]:
    if heard.answer is None:
        return [f"failed: {heard.reason}"]
    found = _differing("text", heard.text, recording.text)
    found += _differing("reasoning", heard.reasoning, str(recording.expected["reasoning"]))
    found += _differing("finish reason", heard.answer.finish_reason, recording.finish)
    found += _differing("evidence", heard.evidence, citations_to_find(recording))
    found += _differing("citations", _cited_in(recording, heard), citations_said(recording))
    usage, expected = heard.answer.usage, recording.expected["usage"]
    if expected is None:
        return [*found, *_differing("origin of usage", usage.origin, answer_pb2.USAGE_ORIGIN_ESTIMATED)]
    found += _differing("origin of usage", usage.origin, answer_pb2.USAGE_ORIGIN_REPORTED)
    found += _differing("input tokens", usage.input_tokens, expected["in"])
    return [*found, *_differing("output tokens", usage.output_tokens, expected["out"])]


def _cited_in(recording: Recording, heard: Heard) -> list[Said]:
    """The citations that came, in the recording's own terms."""
    text, pages = heard.text.encode(), list(pages_cited(recording))
    return sorted(
        (
            text[citation.start_byte : citation.end_byte].decode(),
            pages[int(evidence.source_id) - 1],
            plain(evidence.quote),
        )
        for citation in heard.citations
        for evidence in citation.evidence
    )


def _of_a_failure(recording: Recording, heard: Heard) -> list[str]:
    expected = recording.expected
    found = _differing("part of the text", heard.text, recording.text[: len(heard.text)])
    if expected["tool_calls"]:
        return [*found, *_differing("reason", heard.reason, "PROVIDER_PROTOCOL")]
    if not heard.reason and heard.answer is not None:
        found += _differing("finish reason", heard.answer.finish_reason, answer_pb2.FINISH_REASON_UPSTREAM_UNKNOWN)
    return found


def _of_a_cut(recording: Recording, heard: Heard) -> list[str]:
    found = _differing("part of the text", heard.text, recording.text[: len(heard.text)])
    reasoning = str(recording.expected["reasoning"])
    found += _differing("part of the reasoning", heard.reasoning, reasoning[: len(heard.reasoning)])
    if heard.answer is None:
        allowed = _CUT_REASONS if recording.finish is not None else {*_CUT_REASONS, "PROVIDER_PROTOCOL"}
        return found if heard.reason in allowed else [*found, f"reason {heard.reason}"]
    if recording.protocol != "ollama":
        return [*found, "a false end"]
    return [*found, *_differing("finish reason", heard.answer.finish_reason, answer_pb2.FINISH_REASON_UPSTREAM_UNKNOWN)]


def _differing(what: str, found: object, expected: object) -> list[str]:
    return [] if found == expected else [f"{what}: {found!r:.200} instead of {expected!r:.200}"]
