"""Which answers run, as those know it who let callers in."""

from __future__ import annotations

from contextlib import suppress

import pytest

from headwater.v1.answer_service_pb2 import StreamAnswerRequest
from headwater_server.errors import Overloaded
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


def test_a_tenant_that_takes_all_there_is_shuts_out_no_other() -> None:
    registry = Registry(16, Pressure(most=16, least=16, lateness=1, buffer_bytes=1))
    flood = []
    while registry.refusal(ME.tenant) is None:
        flood.append(registry.admit(StreamAnswerRequest(), ME))
    assert len(flood) == 16, "alone it may have them all"
    assert registry.refusal() is not None, "and nobody is let in unseen"
    others = [registry.admit(StreamAnswerRequest(), STRANGER) for _ in range(2)]
    with pytest.raises(Overloaded):
        registry.admit(StreamAnswerRequest(), STRANGER)  # there is an end to what may run beyond the limit
    for ended in flood:
        registry.remove(ended)
        with suppress(Overloaded):
            registry.admit(StreamAnswerRequest(), ME)  # as soon as there is room, the flood asks for it
        with suppress(Overloaded):
            others.append(registry.admit(StreamAnswerRequest(), STRANGER))
    assert len(others) >= 8, "it comes to an equal share, however often the flood asks"
    assert registry.refusal(STRANGER.tenant) is not None


def test_one_that_has_its_share_already_is_refused_as_any_other() -> None:
    registry = Registry(4, Pressure(most=4, least=4, lateness=1, buffer_bytes=1))
    for caller in (ME, ME, STRANGER, STRANGER):
        registry.admit(StreamAnswerRequest(), caller)
    assert registry.refusal(ME.tenant) is not None
    assert registry.refusal(STRANGER.tenant) is not None
    assert registry.refusal("a-third") is None
