"""Those who read answers, each in its own way, and who come back until they know how it ended."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from time import monotonic
from typing import TYPE_CHECKING, Any, cast

import grpc

from headwater import (
    AsyncAnswer,
    AsyncClient,
    Client,
    HeadwaterError,
)
from headwater.v1.answer_pb2 import Answer, AnswerChunk
from headwater.v1.answer_service_pb2 import GetAnswerRequest, ResumeAnswerRequest
from headwater.v1.answer_service_pb2_grpc import AnswerServiceStub
from tests.faults.answers.bearing import Forgotten, arguments_of, bear, bear_client
from tests.faults.answers.giving_up import Patience
from tests.faults.answers.life import Ending
from tests.faults.answers.model import AnswerModel
from tests.faults.answers.plans import Habit
from tests.faults.answers.reading import View

if TYPE_CHECKING:
    from headwater.v1.answer_service_pb2_grpc import AnswerServiceAsyncStub

PATIENCE_S = 120.0
"""How long a caller tries; whoever has no end by then has found a defect."""
_RAW_OPTIONS = (
    ("grpc.keepalive_time_ms", 1000),
    ("grpc.keepalive_timeout_ms", 1800),
    ("grpc.http2.ping_timeout_ms", 1800),
    ("grpc.http2.max_pings_without_data", 0),
    ("grpc.initial_reconnect_backoff_ms", 200),
    ("grpc.max_reconnect_backoff_ms", 2000),
    ("grpc.max_receive_message_length", 8 << 20),
    ("grpc.enable_http_proxy", 0),
)


class Callers:
    """Connections to one deployment, several of each kind.

    Args:
        target: Where it is.
    """

    def __init__(self, target: str, *, connections: int = 4) -> None:
        self._clients = [AsyncClient(target, user_agent=f"caller-{number}") for number in range(connections)]
        self._blocking = Client(target, user_agent="caller-blocking")
        self._channels = [
            grpc.aio.insecure_channel(target, options=(*_RAW_OPTIONS, ("grpc.primary_user_agent", f"raw-{number}")))
            for number in range(connections)
        ]

    async def close(self) -> None:
        """Closes all connections."""
        for client in self._clients:
            await client.close()
        for channel in self._channels:
            await channel.close()
        await asyncio.to_thread(self._blocking.close)

    async def read(self, model: AnswerModel, habit: Habit, chance: random.Random, *, first: bool) -> None:
        """Reads an answer by a habit, to its end."""
        if not first:
            await asyncio.sleep(chance.choice((0.0, 0.05, 0.3, 1.0)))
        view = View(model)
        try:
            async with asyncio.timeout(PATIENCE_S):
                match habit:
                    case Habit.CLIENT:
                        view = await self._by_client(model, chance)
                    case Habit.CANCELLING:
                        view = await self._cancelling(model, chance)
                    case Habit.BLOCKING:
                        view = await self._blocking_client(model)
                    case Habit.LEAVING:
                        await self._leaving(model, view, chance)
                    case Habit.SNAPSHOT:
                        await model.begun.wait()
                        await self.raw(model, view, chance, name=model.name)
                    case Habit.REPEATING | Habit.RAW | Habit.SLOW:
                        pause = chance.choice((0.002, 0.02, 0.05)) if habit is Habit.SLOW else 0.0
                        await self.raw(model, view, chance, pause=pause)
        except Forgotten as error:
            view.forgotten(error.name)
            return
        except TimeoutError:
            raise model.broken(f"{habit} had no end after {PATIENCE_S:g} s, and {view.last_sequence} events") from None
        view.leave()

    async def raw(
        self,
        model: AnswerModel,
        view: View,
        chance: random.Random,
        *,
        pause: float = 0.0,
        name: str = "",
        snapshot: bool = True,
    ) -> None:
        """Reads by gRPC, and goes on after what it has, until the end; where the name is given, by that."""
        answers = self._stub(chance)
        while view.ending is None:
            name = view.name or name
            call: grpc.aio.UnaryStreamCall[Any, AnswerChunk]
            if view.name or (name and not snapshot):
                call = answers.ResumeAnswer(ResumeAnswerRequest(name=name, after_sequence=view.last_sequence))
            elif name:
                call = answers.ResumeAnswer(ResumeAnswerRequest(name=name))
            else:
                call = answers.StreamAnswer(model.plan.request)
            try:
                async for chunk in call:
                    if chunk.HasField("snapshot"):
                        view.adopt(chunk)
                    else:
                        view.take(chunk)
                    await asyncio.sleep(pause)
                if view.ending is None:
                    raise model.broken("a stream ended with OK and without its terminal message")
            except grpc.aio.AioRpcError as error:
                await bear(error, model, view, name)
            finally:
                call.cancel()

    async def get(self, model: AnswerModel, name: str, chance: random.Random) -> Answer:
        """The answer of a name as it is kept.

        Raises:
            Forgotten: There is none.
        """
        while True:
            try:
                return await self._stub(chance).GetAnswer(GetAnswerRequest(name=name))
            except grpc.aio.AioRpcError as error:
                await bear(error, model, view := View(model), name)
                if view.ending is not None:
                    raise model.broken(f"cannot be got: {error.details()}") from None

    async def _leaving(self, model: AnswerModel, view: View, chance: random.Random) -> None:
        model.deserted = True
        call = self._stub(chance).StreamAnswer(model.plan.request)
        pieces = 0
        try:
            async for chunk in call:
                view.take(chunk)
                pieces += chunk.HasField("text")
                if pieces >= model.plan.stop_after:
                    break
        except grpc.aio.AioRpcError as error:
            await bear(error, model, view, view.name)
        finally:
            call.cancel()

    async def _by_client(self, model: AnswerModel, chance: random.Random) -> View:
        client, patience = chance.choice(self._clients), Patience(model)
        handle, view, name = client.answer(**arguments_of(model.plan)), View(model), ""
        while view.ending is None:
            patience.asks()
            try:
                async for chunk in _chunks(handle):
                    patience.hears()
                    view.take(chunk)
            except HeadwaterError as error:
                await bear_client(error, model, view, name, patience)
                if view.ending is None:
                    name, view = view.name or name, View(model)
                    handle = client.resume(name) if name else client.answer(**arguments_of(model.plan))
            except BaseException:  # a broken promise, or the end of all patience: that is what is to be told
                await handle.close()
                raise
        return view

    async def _cancelling(self, model: AnswerModel, chance: random.Random) -> View:
        client, view, patience = chance.choice(self._clients), View(model), Patience(model)
        handle = client.answer(**arguments_of(model.plan))
        pieces = 0
        try:
            async for chunk in _chunks(handle):
                patience.hears()
                view.take(chunk)
                pieces += chunk.HasField("text")
                if pieces >= model.plan.stop_after and view.ending is None and not model.cancelled:
                    model.cancelled = True
                    await self._cancel(model, client, handle, by_handle=chance.random() < 0.5)
        except HeadwaterError as error:
            await bear_client(error, model, view, view.name, patience)
        except BaseException:
            await handle.close()
            raise
        finally:
            if model.cancelled:  # where it was the stopping that failed, the handle is still in the middle of its text
                await handle.close()
        if view.ending is None:
            await self.raw(model, view, chance)
        return view

    async def _cancel(self, model: AnswerModel, client: AsyncClient, handle: AsyncAnswer, *, by_handle: bool) -> None:
        """Stops an answer, and knows how it ended then."""
        patience = Patience(model, what="stop")
        while True:
            patience.asks()
            try:
                if by_handle:
                    await handle.cancel()
                    return
                ended = await client.cancel_answer(request_id=model.plan.request.request_id)
            except HeadwaterError as error:
                view = View(model)
                await bear_client(error, model, view, handle.name, patience)
                if view.ending is not None:
                    return  # the handle has met the answer's failure meanwhile
            else:
                model.life(ended.name).left(ended.text.encode(), Ending.of(ended))
                return

    async def _blocking_client(self, model: AnswerModel) -> View:
        name, patience = "", Patience(model)
        while True:
            view = View(model)
            patience.asks()
            heard = await asyncio.to_thread(self._hear, arguments_of(model.plan), name)
            for chunk, at in zip(heard.chunks, heard.times, strict=True):
                patience.hears(at)
                view.take(chunk)
            if heard.failure is not None:
                await bear_client(heard.failure, model, view, name, patience, at=heard.end)
            if view.ending is not None:
                return view
            name = view.name or name

    def _hear(self, arguments: dict[str, Any], name: str) -> _Heard:
        heard = _Heard()
        handle = self._blocking.resume(name) if name else self._blocking.answer(**arguments)
        try:
            for chunk in handle.chunks():
                heard.chunks.append(chunk)
                heard.times.append(monotonic())
        except HeadwaterError as error:
            heard.failure = error
        heard.end = monotonic()
        return heard

    def _stub(self, chance: random.Random) -> AnswerServiceAsyncStub:
        return cast("AnswerServiceAsyncStub", AnswerServiceStub(chance.choice(self._channels)))


@dataclass(slots=True)
class _Heard:
    """What a thread has heard by the blocking client, for the loop to compare."""

    chunks: list[AnswerChunk] = field(default_factory=list)
    times: list[float] = field(default_factory=list)
    failure: HeadwaterError | None = None
    end: float = 0.0


async def _chunks(handle: AsyncAnswer) -> AsyncIterator[AnswerChunk]:
    async for chunk in handle.chunks():
        yield chunk
