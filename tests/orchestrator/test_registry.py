"""Which answers run, as those know it who let callers in."""

from __future__ import annotations

from headwater.v1.answer_service_pb2 import StreamAnswerRequest
from headwater_server.orchestrator.pressure import Pressure
from headwater_server.orchestrator.registry import Registry
from tests.orchestrator.asking import ME, REQUEST_ID, STRANGER


def test_a_request_id_is_known_for_as_long_as_any_answer_has_it() -> None:
    registry = Registry(10, Pressure(most=10, least=10, lateness=1, buffer_bytes=1))
    request = StreamAnswerRequest(request_id=REQUEST_ID)
    mine, another = registry.admit(request, ME), registry.admit(request, STRANGER)
    without = registry.admit(StreamAnswerRequest(), ME)
    registry.remove(mine)
    registry.remove(without)
    assert registry.has_request(REQUEST_ID)
    registry.remove(another)
    assert not registry.has_request(REQUEST_ID)
