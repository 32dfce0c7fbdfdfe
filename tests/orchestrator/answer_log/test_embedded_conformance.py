from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from headwater_server.orchestrator.answer_log.embedded import EmbeddedAnswerLog
from headwater_server.orchestrator.answer_log.protocol import AnswerLog
from tests.orchestrator.answer_log.conformance import AnswerLogConformance

pytestmark = pytest.mark.anyio


@pytest.fixture(scope="module", params=[False, True], ids=["written", "synced"])
async def answer_log(
    tmp_path_factory: pytest.TempPathFactory, anyio_backend: str, request: pytest.FixtureRequest
) -> AsyncIterator[AnswerLog]:
    async with EmbeddedAnswerLog.open(tmp_path_factory.mktemp("answers"), sync=request.param) as opened:
        yield opened


class TestEmbeddedAnswerLog(AnswerLogConformance):
    pass
