"""Any talk, of turns that succeed, fail, are stopped, or are lost with their server, against a model of it."""

from __future__ import annotations

import tempfile
from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack, aclosing
from dataclasses import dataclass, field
from pathlib import Path

import anyio
import anyio.lowlevel
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from headwater.v1.answer_pb2 import (
    ANSWER_STATE_CANCELLED,
    ANSWER_STATE_FAILED,
    ANSWER_STATE_SUCCEEDED,
    AnswerChunk,
)
from headwater.v1.answer_service_pb2 import CancelAnswerRequest, DeleteAnswerRequest, StreamAnswerRequest
from headwater.v1.assistant_service_pb2 import StreamGenerateRequest
from headwater_server.errors import Reason, ServiceError
from headwater_server.orchestrator.answer_log.embedded import EmbeddedAnswerLog
from headwater_server.orchestrator.service import Orchestrator
from tests.orchestrator.asking import ME, WAIT_SECONDS
from tests.orchestrator.backends import Script, Services
from tests.orchestrator.chats.databases import SqliteDatabase
from tests.orchestrator.chats.talking import chat_of, history_of, new_chat, turns_of
from tests.orchestrator.events import ended, text

STEPS = ("succeeds", "says nothing", "fails", "is cancelled", "is busy", "dies", "is deleted")


@dataclass
class Kept:
    """What one turn should look like."""

    prompt: str
    text: str
    state: int | None
    """None: the answer was deleted."""
    name: str = ""


@dataclass
class Talk:
    """One chat, and the model of it."""

    services: Services
    folder: Path
    answer_log: EmbeddedAnswerLog
    orchestrator: Orchestrator | None = None
    chat: str = ""
    kept: list[Kept] = field(default_factory=list)
    stack: AsyncExitStack = field(default_factory=AsyncExitStack)

    async def open(self) -> Orchestrator:
        self.stack = AsyncExitStack()
        opened = self.services.orchestrator(answer_log=self.answer_log, open_chats=SqliteDatabase(self.folder).open)
        self.orchestrator = await self.stack.enter_async_context(opened)
        return self.orchestrator

    @property
    def history(self) -> list[str]:
        """What the model should be given."""
        shown = (ANSWER_STATE_SUCCEEDED, ANSWER_STATE_CANCELLED)
        turns = [turn for turn in self.kept if turn.state in shown and turn.text]
        return [said for turn in turns for said in (turn.prompt, turn.text)]

    async def step(self, kind: str, prompt: str) -> None:
        orchestrator = self.orchestrator or await self.open()
        self.chat = self.chat or await new_chat(orchestrator)
        if kind == "is deleted":
            if self.kept and self.kept[-1].state is not None:
                await orchestrator.delete_answer(DeleteAnswerRequest(name=self.kept[-1].name), ME)
                self.kept[-1] = Kept(self.kept[-1].prompt, "", None)
            return
        said = "" if kind == "says nothing" else f"re: {prompt}"
        hanging = kind in {"is cancelled", "is busy", "dies"}
        self.services.assistants.script = _script(said, fails=kind == "fails", hangs=hanging)
        expected = self.history
        stream = orchestrator.stream_answer(StreamAnswerRequest(chat=self.chat, prompt=prompt), ME)
        chunks: list[AnswerChunk] = []
        state: int = ANSWER_STATE_SUCCEEDED
        reason = ""
        try:
            async with aclosing(stream):
                async for chunk in stream:
                    chunks.append(chunk)
                    if hanging and chunk.HasField("text"):
                        state = await self._interrupt(orchestrator, kind, chunks[0].started.answer)
        except ServiceError as error:
            state, reason = ANSWER_STATE_FAILED, error.reason
        assert reason == {"fails": Reason.PROVIDER_UNAVAILABLE, "dies": Reason.SERVER_DRAINING}.get(kind, "")
        assert history_of(self.services.assistants.requests[-1]) == expected
        self.kept.append(Kept(prompt, said, state, chunks[0].started.answer))
        if kind == "dies":
            await self.stack.aclose()
            await self.open()

    async def _interrupt(self, orchestrator: Orchestrator, kind: str, name: str) -> int:
        if kind == "is busy":
            second = orchestrator.stream_answer(StreamAnswerRequest(chat=self.chat, prompt="too soon"), ME)
            with pytest.raises(ServiceError) as busy:
                await anext(second)
            assert (busy.value.reason, busy.value.metadata["answer"]) == (Reason.CHAT_BUSY, name)
        if kind == "dies":
            orchestrator.drain()  # leaves the log as a kill would: not sealed
        else:
            await orchestrator.cancel_answer(CancelAnswerRequest(name=name), ME)
        return ANSWER_STATE_CANCELLED

    async def check(self) -> None:
        if self.orchestrator is None or not self.chat:
            return
        with anyio.fail_after(WAIT_SECONDS):
            chat = await chat_of(self.orchestrator, self.chat)
            while chat.running_answer:  # the server is still taking over what it found
                await anyio.lowlevel.checkpoint()
                chat = await chat_of(self.orchestrator, self.chat)
        turns = await turns_of(self.orchestrator, self.chat)
        assert chat.turn_count == len(turns)
        found = [
            Kept(
                turn.prompt, turn.answer.text, turn.answer.state if turn.HasField("answer") else None, turn.answer.name
            )
            for turn in turns
        ]
        assert found == self.kept


def _script(said: str, *, fails: bool, hangs: bool) -> Script:
    async def script(request: StreamGenerateRequest) -> AsyncGenerator[AnswerChunk, None]:
        if said:
            yield text(said)
        if hangs:
            await anyio.sleep_forever()
        if fails:
            raise ServiceError(Reason.PROVIDER_UNAVAILABLE, "the provider is down")
        yield ended()

    return script


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(st.tuples(st.sampled_from(STEPS), st.text("abc\x00é😀 ?", min_size=1).filter(str.strip)), max_size=8))
def test_any_talk_is_kept_as_it_went_and_the_model_is_given_what_counts(steps: list[tuple[str, str]]) -> None:
    async def talk() -> None:
        with tempfile.TemporaryDirectory() as folder:
            async with EmbeddedAnswerLog.open(Path(folder) / "answers") as answer_log:
                state = Talk(Services(), Path(folder), answer_log)
                try:
                    for kind, prompt in steps:
                        await state.step(kind, prompt)
                        await state.check()
                finally:
                    await state.stack.aclose()

    anyio.run(talk)
