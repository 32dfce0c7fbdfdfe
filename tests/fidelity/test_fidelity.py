from __future__ import annotations

import os
import random
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from headwater.v1 import answer_pb2
from tests.fidelity.__main__ import main
from tests.fidelity.asking import Heard
from tests.fidelity.checking import problems
from tests.fidelity.citing import sources_cited
from tests.fidelity.readers import boundaries, false_ends
from tests.fidelity.recordings import MANIFEST, Recording, recordings
from tests.fidelity.shapes import GROUPS, Case, cuts, harmless
from tests.fidelity.suite import Result, run
from tests.fidelity.table import BEGIN, DOCUMENT, END, table, written

pytestmark = pytest.mark.anyio

_LARGE = 20_000
"""Bytes from which a recording is not sent byte by byte here, but only by `python -m tests.fidelity`."""


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(autouse=True)
def recorded() -> None:
    if not MANIFEST.exists():
        if os.environ.get("CI"):
            pytest.fail(f"{MANIFEST} is not there; HEADWATER_SHARED says where the shared data are")
        pytest.skip(f"needs the recorded streams, which are not in the repository ({MANIFEST})")


def sample(recording: Recording, chosen: random.Random) -> list[Case]:
    """Some of a recording's shapes and cuts."""
    shapes = [case for case in harmless(recording) if len(recording.body) < _LARGE or "split=byte" not in case.options]
    return [*chosen.sample(shapes, 6), *chosen.sample(cuts(recording, places=6), 4)]


def wrong(results: Iterable[Result]) -> list[str]:
    return [f"{result.case.path}: {'; '.join(result.problems)}" for result in results if result.problems]


async def test_a_sample_of_all_shapes_and_cuts_reads_as_the_manifest_says(tmp_path: Path) -> None:
    chosen = random.Random(6)  # noqa: S311 (test data)
    cases = [case for recording in recordings() for case in sample(recording, chosen)]
    assert {case.group for case in cases} == set(GROUPS)
    results = await run(cases, tmp_path / "data")
    assert len(results) == len(cases)
    assert wrong(results) == []


def test_between_any_two_events_an_answer_has_not_ended() -> None:
    tried, wrong_ones = 0, list[str]()
    for recording in recordings():
        between = boundaries(recording)
        inside = (place + 1 for place in between if place < recording.end)
        count, found = false_ends(recording, sorted({*between, *inside, recording.end}))
        tried += count
        wrong_ones += found
    assert wrong_ones == []
    assert tried > 2000


def test_wherever_it_is_cut_before_its_end_an_answer_has_not_ended() -> None:
    for recording in recordings():
        places = range(0, recording.end + 1, max(1, recording.end // 600))  # every byte of the shorter ones
        assert false_ends(recording, places) == (len(places), [])


def test_a_false_end_is_found() -> None:
    recording = next(each for each in recordings() if each.name == "anthropic/01")
    longer = replace(recording)
    longer.__dict__["end"] = len(recording.body)
    assert ["a false end" in problem for problem in false_ends(longer, [0, len(recording.body)])[1]] == [True]


async def test_what_is_not_as_the_manifest_says_is_found(tmp_path: Path) -> None:
    recording = next(recording for recording in recordings() if recording.name == "anthropic/03")

    def but(**expected: Any) -> Case:
        entry = {**recording.entry, "expected": {**recording.expected, **expected}}
        return Case(Recording(entry), "pieces", "split=event")

    cases = {
        "text": but(text=recording.text + "!"),
        "reasoning": but(reasoning=""),
        "finish reason": but(finish="max_tokens"),
        "input tokens": but(usage={"in": 1, "out": 133}),
        "output tokens": but(usage={"in": 46, "out": 1}),
        "origin of usage": but(usage=None),
        "reason": but(tool_calls=1),
        "a false end": replace(but(), group="clean cuts"),
    }
    results = await run(list(cases.values()), tmp_path / "data")
    found = {tuple(problem.split(":")[0] for problem in result.problems) for result in results}
    assert found == {(name,) for name in cases}


def test_a_part_that_is_not_kept_is_found() -> None:
    recording = next(iter(recordings()))
    case = cuts(recording, places=0)[0]
    heard = Heard(text="x", reason="PROVIDER_TRUNCATED")
    assert [problem.split(":")[0] for problem in problems(case, heard)] == [
        "kept text",
        "a failed answer is kept in state 0",
        "the checksum is another",
        "part of the text",
    ]


@pytest.mark.parametrize(("end", "is_wrong"), [(35, False), (34, True)])
def test_a_citation_of_other_words_is_found(end: int, *, is_wrong: bool) -> None:
    recording = next(each for each in recordings() if each.name == "gemini/06")
    evidence = answer_pb2.Evidence(source_id="1", quote=sources_cited(recording)[0].content)
    citation = answer_pb2.Citation(start_byte=0, end_byte=end, evidence=[evidence])
    answer = answer_pb2.Answer(text=recording.text)
    heard = Heard(text=recording.text, citations=[citation], answer=answer, kept=answer)
    found = [problem.split(":")[0] for problem in problems(harmless(recording)[0], heard)]
    assert ("citations" in found) is is_wrong
    assert "evidence" not in found


def test_the_table_says_how_many_cases_went_wrong() -> None:
    recording = next(iter(recordings()))
    cases = harmless(recording)
    lines = table([Result(cases[0], ["text"]), Result(cases[1], [])]).splitlines()
    assert lines[0].startswith("| recording | pieces |")
    assert lines[2].startswith(f"| {recording.name} | **1 of 2 wrong** | – |")
    assert written(f"a {BEGIN} old {END} b", "new") == f"a {BEGIN}\n\nnew\n\n{END} b"
    with pytest.raises(ValueError, match="no place for the table"):
        written("a", "new")


def test_the_document_is_that_of_these_recordings_and_nothing_went_wrong(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    monkeypatch.setattr("sys.argv", ["tests.fidelity", "--check"])
    assert main() == 0, capsys.readouterr().out
    other = tmp_path / "fidelity.md"
    other.write_text(DOCUMENT.read_text(encoding="utf-8").replace("| anthropic/01 | 5 |", "| anthropic/01 | 6 |"))
    monkeypatch.setattr("tests.fidelity.__main__.DOCUMENT", other)
    assert main() == 1
