"""What the table of answers costs when it is large."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from headwater_server.orchestrator.answer_log.table import AnswerTable
from tests.orchestrator.answer_log.conformance import new_answer

_STEP = 10


@pytest.fixture
def steps(monkeypatch: pytest.MonkeyPatch) -> Callable[[], int]:
    """How many instructions SQLite has executed since the last time it was asked, by tens."""
    counted = 0

    def count() -> None:
        nonlocal counted
        counted += 1

    class Counting(sqlite3.Connection):
        def __init__(self, *arguments: object, **options: object) -> None:
            super().__init__(*arguments, **options)  # type: ignore[arg-type]  # whatever `connect` was given
            self.set_progress_handler(count, _STEP)

    connect = sqlite3.connect
    monkeypatch.setattr(sqlite3, "connect", lambda *given, **options: connect(*given, factory=Counting, **options))

    def since() -> int:
        nonlocal counted
        before, counted = counted, 0
        return before

    return since


def test_an_answer_is_found_at_once_among_very_many(tmp_path: Path, steps: Callable[[], int]) -> None:
    with closing(AnswerTable(tmp_path / "answers.sqlite3", durable=False)) as table:
        answers = [new_answer(request_id=f"5d5b1a90-0000-4000-8000-{number:012}") for number in range(2_000)]
        with table.transaction():
            for answer in answers:
                table.insert(answer)
        wanted = answers[1_000]
        steps()
        assert table.find_request(wanted.tenant, wanted.request_id) is not None
        by_request = steps()
        assert table.find(wanted.name) is not None
        assert steps() < 20
        assert by_request < 20, "all answers of the tenant were looked at"
        assert table.find_request(wanted.tenant, "") is None
