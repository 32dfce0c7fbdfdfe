"""An AnswerService in memory, to try clients of chats and answers against. What a prompt begins with says what happens.

`hold`: the answer goes on until it is stopped. `break`: the connection breaks after the first piece, once. `fail`: it
fails after the first piece. `full`: the server has no room to log it. Everything else is answered at once.
"""

# ruff: noqa: N802, ARG002 (the methods and their arguments are those of the generated servicers)

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from concurrent import futures
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import NoReturn, TypeVar

import google_crc32c
import grpc
from google.protobuf import any_pb2, empty_pb2, timestamp_pb2
from google.rpc import code_pb2, error_details_pb2, status_pb2

from headwater.v1 import answer_pb2, answer_service_pb2_grpc, chat_pb2, source_pb2
from headwater.v1 import answer_service_pb2 as wire

Item = TypeVar("Item")

PAGE = 2
SOURCE = source_pb2.Source(id="1", title="Tides", uri="tides.md", content="Twice a day.", rank=1)
MADE = timestamp_pb2.Timestamp(seconds=1_767_323_045)


@dataclass
class Kept:
    """An answer, and what is sent of it."""

    answer: answer_pb2.Answer
    chunks: list[answer_pb2.AnswerChunk] = field(default_factory=list)
    stopped: threading.Event = field(default_factory=threading.Event)
    ended: threading.Event = field(default_factory=threading.Event)
    made: bool = True
    """Whether a call is making it; another may have broken off."""


class MemoryChats(answer_service_pb2_grpc.AnswerServiceServicer):
    def __init__(self) -> None:
        self.chats: dict[str, chat_pb2.Chat] = {}
        self.turns: dict[str, list[tuple[str, Kept]]] = {}
        """The names and answers of each chat's turns."""
        self.answers: dict[str, Kept] = {}
        self.asked: list[wire.StreamAnswerRequest] = []
        self.created: list[wire.CreateChatRequest] = []
        self.updated: list[wire.UpdateChatRequest] = []

    def CreateChat(self, request: wire.CreateChatRequest, context: grpc.ServicerContext) -> chat_pb2.Chat:
        self.created.append(request)
        chat = chat_pb2.Chat()
        chat.CopyFrom(request.chat)
        chat.name = f"chats/c{len(self.created)}"
        for moment in (chat.create_time, chat.update_time):
            moment.CopyFrom(MADE)
        self.chats[chat.name], self.turns[chat.name] = chat, []
        return chat

    def GetChat(self, request: wire.GetChatRequest, context: grpc.ServicerContext) -> chat_pb2.Chat:
        return self._chat(request.name, context)

    def ListChats(self, request: wire.ListChatsRequest, context: grpc.ServicerContext) -> wire.ListChatsResponse:
        names, following = _page(list(reversed(self.chats)), request.page_token)
        return wire.ListChatsResponse(chats=[self._chat(name, context) for name in names], next_page_token=following)

    def UpdateChat(self, request: wire.UpdateChatRequest, context: grpc.ServicerContext) -> chat_pb2.Chat:
        self.updated.append(request)
        chat = self._chat(request.chat.name, context)
        request.update_mask.MergeMessage(request.chat, chat, replace_message_field=True)
        return chat

    def DeleteChat(self, request: wire.DeleteChatRequest, context: grpc.ServicerContext) -> empty_pb2.Empty:
        self._chat(request.name, context)
        del self.chats[request.name]
        for _, kept in self.turns.pop(request.name):
            kept.stopped.set()
        return empty_pb2.Empty()

    def GetTurn(self, request: wire.GetTurnRequest, context: grpc.ServicerContext) -> chat_pb2.Turn:
        turns = self.turns.get(request.name.partition("/turns/")[0], [])
        kept = next((kept for name, kept in turns if name == request.name), None)
        if kept is None:
            _not_found(request.name, context)
        return _turn(request.name, kept.answer)

    def ListTurns(self, request: wire.ListTurnsRequest, context: grpc.ServicerContext) -> wire.ListTurnsResponse:
        self._chat(request.parent, context)
        found, following = _page(self.turns[request.parent], request.page_token)
        turns = [_turn(name, kept.answer) for name, kept in found]
        for turn in turns:
            for source in turn.answer.sources:
                source.ClearField("content")
        return wire.ListTurnsResponse(turns=turns, next_page_token=following)

    def StreamAnswer(
        self, request: wire.StreamAnswerRequest, context: grpc.ServicerContext
    ) -> Iterator[answer_pb2.AnswerChunk]:
        self.asked.append(request)
        if request.chat and (running := self._chat(request.chat, context).running_answer):
            about = {"chat": request.chat, "answer": running}
            _refuse(context, grpc.StatusCode.ABORTED, f"{request.chat} is busy", reason="CHAT_BUSY", metadata=about)
        name = f"answers/{request.request_id}"
        answer = answer_pb2.Answer(
            name=name,
            request_id=request.request_id,
            chat=request.chat,
            prompt=request.prompt,
            assistant="assistants/scripted/any",
            state=answer_pb2.ANSWER_STATE_RUNNING,
            unlogged=request.prompt.startswith("full"),
            create_time=MADE,
        )
        kept = self.answers[name] = Kept(answer)
        if request.chat:
            turns = self.turns[request.chat]
            turns.append((f"{request.chat}/turns/t{len(turns) + 1}", kept))
        yield from self._make(kept, context)

    def GenerateAnswer(self, request: wire.StreamAnswerRequest, context: grpc.ServicerContext) -> answer_pb2.Answer:
        return list(self.StreamAnswer(request, context))[-1].answer

    def ResumeAnswer(
        self, request: wire.ResumeAnswerRequest, context: grpc.ServicerContext
    ) -> Iterator[answer_pb2.AnswerChunk]:
        kept, sent = self._kept(request.name, context), request.after_sequence
        while context.is_active():
            yield from kept.chunks[sent:]
            sent = len(kept.chunks)
            if kept.ended.is_set() and kept.chunks[-1].HasField("answer"):
                return
            if not kept.made:
                kept.made = True
                for _ in self._finish(kept, context):
                    pass
            kept.ended.wait(0.02)

    def CancelAnswer(self, request: wire.CancelAnswerRequest, context: grpc.ServicerContext) -> answer_pb2.Answer:
        kept = self._kept(request.name or f"answers/{request.request_id}", context)
        kept.stopped.set()
        kept.ended.wait(10)
        return kept.answer

    def GetAnswer(self, request: wire.GetAnswerRequest, context: grpc.ServicerContext) -> answer_pb2.Answer:
        return self._kept(request.name, context).answer

    def ListAnswers(self, request: wire.ListAnswersRequest, context: grpc.ServicerContext) -> wire.ListAnswersResponse:
        wanted = [
            kept.answer
            for kept in reversed(self.answers.values())
            if request.state in {answer_pb2.ANSWER_STATE_UNSPECIFIED, kept.answer.state}
        ]
        found, following = _page(wanted, request.page_token)
        return wire.ListAnswersResponse(answers=found, next_page_token=following)

    def DeleteAnswer(self, request: wire.DeleteAnswerRequest, context: grpc.ServicerContext) -> empty_pb2.Empty:
        self._kept(request.name, context).stopped.set()
        del self.answers[request.name]
        return empty_pb2.Empty()

    def _make(self, kept: Kept, context: grpc.ServicerContext) -> Iterator[answer_pb2.AnswerChunk]:
        answer, add = kept.answer, _adder(kept)
        started = answer_pb2.AnswerStarted(answer=answer.name, chat=answer.chat, unlogged=answer.unlogged)
        yield add(answer_pb2.AnswerChunk(started=started))
        retrieved = answer_pb2.SourcesRetrieved(sources=[SOURCE], statistics=source_pb2.RetrievalStatistics())
        yield add(answer_pb2.AnswerChunk(retrieved=retrieved))
        answer.sources.append(SOURCE)
        yield add(answer_pb2.AnswerChunk(text=answer_pb2.TextDelta(text="The tide comes in ")))
        answer.text = "The tide comes in "
        if answer.prompt.startswith("break"):
            kept.made = False
            context.abort(grpc.StatusCode.UNAVAILABLE, "the connection broke")
        if answer.prompt.startswith("fail"):
            answer.state = answer_pb2.ANSWER_STATE_FAILED
            answer.error.CopyFrom(status_pb2.Status(code=code_pb2.UNAVAILABLE, message="the model is away"))
            kept.ended.set()
            _refuse(context, grpc.StatusCode.UNAVAILABLE, answer.error.message, reason="PROVIDER_UNAVAILABLE")
        yield from self._finish(kept, context)

    def _finish(self, kept: Kept, context: grpc.ServicerContext) -> Iterator[answer_pb2.AnswerChunk]:
        answer, add = kept.answer, _adder(kept)
        if answer.prompt.startswith("hold"):
            while context.is_active() and not kept.stopped.wait(0.02):
                pass
            answer.state = answer_pb2.ANSWER_STATE_CANCELLED
            answer.finish_reason = answer_pb2.FINISH_REASON_CANCELLED
        else:
            rest = answer_pb2.TextDelta(text="twice a day.", offset_bytes=len(answer.text))
            yield add(answer_pb2.AnswerChunk(text=rest))
            answer.text += rest.text
            evidence = answer_pb2.Evidence(source_id="1")
            citation = answer_pb2.Citation(start_byte=0, end_byte=len(answer.text), evidence=[evidence])
            yield add(answer_pb2.AnswerChunk(citation=citation))
            answer.citations.append(citation)
            answer.sources[0].disposition = source_pb2.SOURCE_DISPOSITION_CITED
            answer.state = answer_pb2.ANSWER_STATE_SUCCEEDED
            answer.finish_reason = answer_pb2.FINISH_REASON_STOP
            answer.timings.continuations = int(answer.prompt.startswith("break"))
        answer.text_crc32c = google_crc32c.value(answer.text.encode())
        answer.last_sequence = len(kept.chunks) + 1
        terminal = add(answer_pb2.AnswerChunk(answer=answer))
        kept.ended.set()
        yield terminal

    def _chat(self, name: str, context: grpc.ServicerContext) -> chat_pb2.Chat:
        if name not in self.chats:
            _not_found(name, context)
        chat = self.chats[name]
        chat.turn_count = len(self.turns[name])
        chat.running_answer = next((kept.answer.name for _, kept in self.turns[name] if not kept.ended.is_set()), "")
        return chat

    def _kept(self, name: str, context: grpc.ServicerContext) -> Kept:
        if name not in self.answers:
            _not_found(name, context)
        return self.answers[name]


@contextmanager
def chat_server(chats: MemoryChats) -> Iterator[str]:
    """Gives the address of a server with this service."""
    options = [
        ("grpc.so_reuseport", 0),
        # Clients try a silent connection each second.
        ("grpc.http2.min_ping_interval_without_data_ms", 200),
        ("grpc.http2.max_ping_strikes", 0),
    ]
    server = grpc.server(futures.ThreadPoolExecutor(16), options=options)
    answer_service_pb2_grpc.add_AnswerServiceServicer_to_server(chats, server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    try:
        yield f"127.0.0.1:{port}"
    finally:
        for kept in list(chats.answers.values()):
            kept.stopped.set()
        server.stop(None).wait(10)


def _adder(kept: Kept) -> Callable[[answer_pb2.AnswerChunk], answer_pb2.AnswerChunk]:
    def add(chunk: answer_pb2.AnswerChunk) -> answer_pb2.AnswerChunk:
        chunk.sequence = len(kept.chunks) + 1
        kept.chunks.append(chunk)
        return chunk

    return add


def _turn(name: str, answer: answer_pb2.Answer) -> chat_pb2.Turn:
    return chat_pb2.Turn(name=name, prompt=answer.prompt, answer=answer, create_time=MADE)


def _page(items: list[Item], token: str) -> tuple[list[Item], str]:
    start = int(token or 0)
    following = str(start + PAGE) if start + PAGE < len(items) else ""
    return items[start : start + PAGE], following


def _not_found(name: str, context: grpc.ServicerContext) -> NoReturn:
    about = {"resource": name}
    message = f"{name} does not exist"
    _refuse(context, grpc.StatusCode.NOT_FOUND, message, reason="RESOURCE_NOT_FOUND", metadata=about)


def _refuse(
    context: grpc.ServicerContext,
    code: grpc.StatusCode,
    message: str,
    *,
    reason: str,
    metadata: dict[str, str] | None = None,
) -> NoReturn:
    detail = any_pb2.Any()
    detail.Pack(error_details_pb2.ErrorInfo(reason=reason, domain="headwater", metadata=metadata))
    status = status_pb2.Status(code=code.value[0], message=message, details=[detail])
    context.set_trailing_metadata((("grpc-status-details-bin", status.SerializeToString()),))
    context.abort(code, message)
    raise AssertionError("abort raises")
