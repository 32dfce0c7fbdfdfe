from __future__ import annotations

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from pydantic import SecretStr

from headwater.v1.answer_service_pb2 import CancelAnswerRequest, StreamAnswerRequest
from headwater_server.interfaces import LOCAL_TENANT
from tests.orchestrator.asking import REQUEST_ID, asking
from tests.orchestrator.backends import Services, saying_then_hanging
from tests.orchestrator.events import text
from tests.runtime.serving import exhaust, serving

pytestmark = [pytest.mark.anyio, pytest.mark.usefixtures("each_front")]

ACME, GLOBEX = "acme-token-0123456789", "globex-token-0123456789"
TOKENS = {"acme": SecretStr(ACME), "globex": SecretStr(GLOBEX)}


def bearing(token: str) -> tuple[tuple[str, str], ...]:
    return (("authorization", f"Bearer {token}"),)


@pytest.mark.parametrize(
    "metadata",
    [
        None,
        bearing("wrong-token-0123456789"),
        bearing(""),
        bearing(ACME[:-1]),
        (("authorization", f"Basic {ACME}"),),
        (("authorization", ACME),),
    ],
)
async def test_without_a_known_token_nothing_is_done(metadata: tuple[tuple[str, str], ...] | None) -> None:
    services = Services()
    async with serving(services, tokens=TOKENS) as stubs:
        for request in (asking(), StreamAnswerRequest()):  # who may not call does not learn what would be valid
            with pytest.raises(grpc.aio.AioRpcError) as caught:
                await stubs.answers.GenerateAnswer(request, metadata=metadata)
            assert caught.value.code() is grpc.StatusCode.UNAUTHENTICATED
            assert ACME not in (caught.value.details() or "")
            with pytest.raises(grpc.aio.AioRpcError) as caught:
                await exhaust(stubs.answers.StreamAnswer(request, metadata=metadata))
            assert caught.value.code() is grpc.StatusCode.UNAUTHENTICATED
    assert not services.retrieval.requests


async def test_the_token_says_whose_tenant_the_caller_is() -> None:
    services = Services()
    async with serving(services, tokens=TOKENS) as stubs:
        await stubs.answers.GenerateAnswer(asking(), metadata=bearing(GLOBEX))
        await stubs.answers.GenerateAnswer(asking(), metadata=(("authorization", f"bearer {ACME}"),))
    assert [(caller.tenant, caller.credential) for caller in services.assistants.callers] == [
        ("globex", GLOBEX),
        ("acme", ACME),
    ]
    assert GLOBEX not in repr(services.assistants.callers)


async def test_without_tokens_everybody_is_the_local_tenant() -> None:
    services = Services()
    async with serving(services) as stubs:
        await stubs.answers.GenerateAnswer(asking(), metadata=bearing("any"))
    assert [(caller.tenant, caller.credential) for caller in services.assistants.callers] == [(LOCAL_TENANT, "")]


async def test_one_tenant_neither_sees_nor_stops_the_answers_of_another() -> None:
    async with serving(Services(saying_then_hanging(text("a"))), tokens=TOKENS) as stubs:
        call = stubs.answers.StreamAnswer(asking(request_id=REQUEST_ID), metadata=bearing(ACME))
        name = (await call.read()).started.answer
        for request in (CancelAnswerRequest(name=name), CancelAnswerRequest(request_id=REQUEST_ID)):
            with pytest.raises(grpc.aio.AioRpcError) as caught:
                await stubs.answers.CancelAnswer(request, metadata=bearing(GLOBEX))
            assert caught.value.code() is grpc.StatusCode.NOT_FOUND
        assert (await stubs.answers.CancelAnswer(CancelAnswerRequest(name=name), metadata=bearing(ACME))).name == name


async def test_health_needs_no_token() -> None:
    async with serving(Services(), tokens=TOKENS) as stubs:
        health = health_pb2_grpc.HealthStub(stubs.channel)
        response = await health.Check(health_pb2.HealthCheckRequest())
    assert response.status == health_pb2.HealthCheckResponse.SERVING
