from __future__ import annotations

import json
from collections.abc import Awaitable

import grpc
import pytest

from headwater.v1.retrieval_service_pb2 import DeleteCorpusRequest
from headwater_server.runtime import logs
from tests.orchestrator.asking import asking
from tests.orchestrator.backends import Services, saying_then_failing
from tests.orchestrator.events import text
from tests.runtime.serving import exhaust, info, serving, status_of

pytestmark = [pytest.mark.anyio, pytest.mark.usefixtures("each_front")]

CANARY = "sk-canary-0123456789"


@pytest.mark.parametrize("method", ["StreamAnswer", "GenerateAnswer", "DeleteCorpus"])
async def test_a_defect_reaches_the_caller_as_an_id_and_the_log_as_itself(
    method: str, capsys: pytest.CaptureFixture[str]
) -> None:
    defect = ZeroDivisionError(f"a defect that mentions {CANARY}")
    logs.configure(style="json", secrets=[CANARY])
    async with serving(Services(saying_then_failing(defect, text("The part")))) as stubs:
        call: Awaitable[object]
        match method:
            case "StreamAnswer":
                call = exhaust(stubs.answers.StreamAnswer(asking()))
            case "GenerateAnswer":
                call = stubs.answers.GenerateAnswer(asking())
            case _:
                call = stubs.retrieval.DeleteCorpus(DeleteCorpusRequest(name="corpora/c"))
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await call
    error = caught.value
    error_id = info(error).metadata["error_id"]
    assert error.code() is grpc.StatusCode.INTERNAL
    assert error.details() == f"internal error {error_id}"
    assert info(error).reason == "INTERNAL"
    everything = f"{error.details()} {error.debug_error_string()} {status_of(error)} {error.trailing_metadata()}"
    assert "mentions" not in everything
    assert "ZeroDivision" not in everything
    logged = capsys.readouterr().err
    assert CANARY not in logged
    events = [json.loads(line) for line in logged.splitlines()]
    kind = "call.defect" if method == "DeleteCorpus" else "answer.defect"
    (event,) = (event for event in events if event["event"] == kind)
    assert event["error_id"] == error_id
    assert event["level"] == "error"
    assert "ZeroDivisionError: a defect that mentions [secret]" in event["exception"]
    assert event.get("method", method).endswith(method)
