from __future__ import annotations

import anyio
import grpc
import pytest
from grpc_channelz.v1 import channelz_pb2, channelz_pb2_grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc

from headwater_server.runtime.server import Server
from headwater_server.runtime.servicers import ANSWER, RETRIEVAL
from headwater_server.runtime.settings import load
from tests.orchestrator.asking import asking
from tests.orchestrator.backends import Services, saying_then_hanging
from tests.orchestrator.events import text
from tests.runtime.serving import WAIT_SECONDS, connected, serving, settings

pytestmark = [pytest.mark.anyio, pytest.mark.usefixtures("each_front")]

SERVING = health_pb2.HealthCheckResponse.SERVING
NOT_SERVING = health_pb2.HealthCheckResponse.NOT_SERVING
SERVICES = ("headwater.v1.AnswerService", "headwater.v1.AssistantService", "headwater.v1.RetrievalService")


async def test_each_service_has_a_status() -> None:
    async with serving(Services()) as stubs:
        health = health_pb2_grpc.HealthStub(stubs.channel)
        for service in ("", *SERVICES):
            assert (await health.Check(health_pb2.HealthCheckRequest(service=service))).status == SERVING
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await health.Check(health_pb2.HealthCheckRequest(service="headwater.v1.Nothing"))
        assert caught.value.code() is grpc.StatusCode.NOT_FOUND


async def test_a_server_of_one_role_has_the_statuses_of_that_role() -> None:
    server = Server(settings(), {RETRIEVAL: Services().retrieval})
    address = await server.start()
    async with connected(address) as stubs:
        health = health_pb2_grpc.HealthStub(stubs.channel)
        assert (await health.Check(health_pb2.HealthCheckRequest(service=SERVICES[2]))).status == SERVING
        with pytest.raises(grpc.aio.AioRpcError):
            await health.Check(health_pb2.HealthCheckRequest(service=SERVICES[0]))
    await server.stop()


async def test_watchers_hear_of_the_drain_and_do_not_hold_it_up() -> None:
    services = Services(saying_then_hanging(text("a")))
    async with services.orchestrator() as orchestrator:
        server = Server(settings(), {ANSWER: orchestrator})
        async with connected(await server.start()) as stubs:
            watch = health_pb2_grpc.HealthStub(stubs.channel).Watch(health_pb2.HealthCheckRequest(service=SERVICES[0]))
            assert (await watch.read()).status == SERVING
            call = stubs.answers.StreamAnswer(asking())
            await call.read()
            await server.announce_drain()
            assert (await watch.read()).status == NOT_SERVING
            async with anyio.create_task_group() as tasks:
                # Were the watch waited for, this would take an hour.
                tasks.start_soon(server.drain, 3600)
                with anyio.fail_after(WAIT_SECONDS):
                    await anyio.sleep(0.1)
                    call.cancel()
                    await services.assistants.closed.wait()


async def test_reflection_lists_the_services() -> None:
    async with serving(Services()) as stubs:
        reflection = reflection_pb2_grpc.ServerReflectionStub(stubs.channel)
        call = reflection.ServerReflectionInfo(iter([reflection_pb2.ServerReflectionRequest(list_services="")]))
        response = await call.read()
        call.cancel()
    names = {service.name for service in response.list_services_response.service}
    assert names == {*SERVICES, "grpc.health.v1.Health", "grpc.reflection.v1alpha.ServerReflection"}


@pytest.mark.parametrize("shown", [False, True])
async def test_channelz_is_there_only_by_a_setting(*, shown: bool) -> None:
    async with serving(Services(), channelz=shown) as stubs:
        call = channelz_pb2_grpc.ChannelzStub(stubs.channel).GetServers(channelz_pb2.GetServersRequest())
        if shown:
            found = await call
            assert found.server or load().front == "http2"  # which gRPC's core knows nothing of
        else:
            with pytest.raises(grpc.aio.AioRpcError) as caught:
                await call
            assert caught.value.code() is grpc.StatusCode.UNIMPLEMENTED
