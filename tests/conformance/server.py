"""A scripted server for the SDKs' tests: `python -m tests.conformance.server`. `README.md` explains it."""

from __future__ import annotations

import argparse
import asyncio
import base64
import json
import string
import sys
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import google_crc32c
import grpc
import grpc.aio
from google.protobuf import any_pb2, json_format
from google.rpc import error_details_pb2, status_pb2

from headwater.v1 import answer_pb2, answer_service_pb2
from tests.conformance.cases import Case, load_cases
from tests.conformance.proxy import ResettingProxy

Context = grpc.aio.ServicerContext[Any, bytes]

SERVICE = "headwater.v1.AnswerService"
# json_format finds the types of details among those that are imported.
DETAIL_TYPES = (error_details_pb2.ErrorInfo, error_details_pb2.RetryInfo, error_details_pb2.BadRequest)


@dataclass
class Running:
    """What has become of one answer."""

    case: Case
    request_id: str
    resumes: int = 0
    """How often it was resumed."""
    state: answer_pb2.AnswerState.ValueType = answer_pb2.ANSWER_STATE_RUNNING
    cancel_asked: asyncio.Event = field(default_factory=asyncio.Event)


class ScriptedAnswers:
    """Plays the cases. Responses are bytes, because some cases send what protobuf would not."""

    def __init__(self, cases: dict[str, Case]) -> None:
        self._cases = cases
        self._answers: dict[str, Running] = {}
        self.proxy: ResettingProxy | None = None

    async def stream_answer(
        self, request: answer_service_pb2.StreamAnswerRequest, context: Context
    ) -> AsyncIterator[bytes]:
        case = self._cases.get(request.prompt)
        if case is None:
            await context.abort(grpc.StatusCode.INVALID_ARGUMENT, f"there is no case {request.prompt!r}")
        if request.chat != case.chat:
            await context.abort(grpc.StatusCode.INVALID_ARGUMENT, f"{case.name} is asked in the chat {case.chat!r}")
        running = self._answers[_name(request.request_id)] = Running(case, request.request_id)
        async for message in self._play_all(case.steps, running, context):
            yield message

    async def resume_answer(
        self, request: answer_service_pb2.ResumeAnswerRequest, context: Context
    ) -> AsyncIterator[bytes]:
        running = self._answers.get(request.name)
        if running is None:
            await context.abort(grpc.StatusCode.NOT_FOUND, f"{request.name} does not exist")
        if running.resumes == len(running.case.resumes):
            await context.abort(grpc.StatusCode.UNIMPLEMENTED, "this server does not resume")
        resume = running.case.resumes[running.resumes]
        running.resumes += 1
        if request.after_sequence != resume["after"]:
            await context.abort(grpc.StatusCode.INVALID_ARGUMENT, f"after_sequence must be {resume['after']}")
        async for message in self._play_all(resume["steps"], running, context):
            yield message

    async def _play_all(self, steps: list[dict[str, Any]], running: Running, context: Context) -> AsyncIterator[bytes]:
        names = {"name": _name(running.request_id), "request_id": running.request_id}
        try:
            for step in steps:
                async for message in self._play(_fill(step, names), running, context):
                    yield message
            running.state = answer_pb2.ANSWER_STATE_SUCCEEDED
        except asyncio.CancelledError:
            running.state = answer_pb2.ANSWER_STATE_CANCELLED
            raise
        except grpc.aio.AbortError:
            running.state = answer_pb2.ANSWER_STATE_FAILED
            raise

    async def cancel_answer(
        self,
        request: answer_service_pb2.CancelAnswerRequest,
        context: grpc.aio.ServicerContext[answer_service_pb2.CancelAnswerRequest, answer_pb2.Answer],
    ) -> answer_pb2.Answer:
        name = request.name or _name(request.request_id)
        running = self._answers.get(name)
        if running is None:
            await context.abort(grpc.StatusCode.NOT_FOUND, f"{name} does not exist")
        running.cancel_asked.set()
        return answer_pb2.Answer(name=name, state=answer_pb2.ANSWER_STATE_CANCELLED)

    async def get_answer(
        self,
        request: answer_service_pb2.GetAnswerRequest,
        context: grpc.aio.ServicerContext[answer_service_pb2.GetAnswerRequest, answer_pb2.Answer],
    ) -> answer_pb2.Answer:
        running = self._answers.get(request.name)
        if running is None:
            await context.abort(grpc.StatusCode.NOT_FOUND, f"{request.name} does not exist")
        return answer_pb2.Answer(name=request.name, state=running.state)

    async def _play(  # noqa: C901 (one line or two for each kind of step)
        self, step: dict[str, Any], running: Running, context: Context
    ) -> AsyncIterator[bytes]:
        [(kind, value)] = step.items()
        match kind:
            case "chunk":
                yield json_format.ParseDict(value, answer_pb2.AnswerChunk()).SerializeToString()
            case "bytes":
                yield base64.b64decode(value)
            case "burst":
                for message in _burst(**value):
                    yield message
            case "pause_ms":
                await asyncio.sleep(value / 1000)
            case "until_cancelled":
                await running.cancel_asked.wait()
            case "hold":
                await asyncio.Event().wait()
            case "status":
                await _abort(value, context)
            case "reset":
                assert self.proxy is not None
                self.proxy.reset(int(context.peer().rsplit(":", 1)[1]))
                await asyncio.Event().wait()
            case "echo":
                for message in _echo(value, context):
                    yield message
            case _:
                raise ValueError(f"there is no step {kind!r}")


def handlers(answers: ScriptedAnswers) -> grpc.GenericRpcHandler:
    """The RPCs that are played."""
    return grpc.method_handlers_generic_handler(
        SERVICE,
        {
            "StreamAnswer": grpc.unary_stream_rpc_method_handler(
                answers.stream_answer,
                request_deserializer=answer_service_pb2.StreamAnswerRequest.FromString,
            ),
            "ResumeAnswer": grpc.unary_stream_rpc_method_handler(
                answers.resume_answer,
                request_deserializer=answer_service_pb2.ResumeAnswerRequest.FromString,
            ),
            "CancelAnswer": grpc.unary_unary_rpc_method_handler(
                answers.cancel_answer,
                request_deserializer=answer_service_pb2.CancelAnswerRequest.FromString,
                response_serializer=answer_pb2.Answer.SerializeToString,
            ),
            "GetAnswer": grpc.unary_unary_rpc_method_handler(
                answers.get_answer,
                request_deserializer=answer_service_pb2.GetAnswerRequest.FromString,
                response_serializer=answer_pb2.Answer.SerializeToString,
            ),
        },
    )


@dataclass(frozen=True)
class Pair:
    """The files of a certificate and its key, PEM."""

    certificate: Path
    key: Path


def _listening(front: str, pair: Pair | None) -> tuple[grpc.aio.Server, int]:
    """A server of the kind that was asked for, and its port."""
    if front == "http2":
        from headwater_server.runtime.front_http2 import Http2Server  # noqa: PLC0415 (a bare installation has no server)
        from headwater_server.runtime.front_http2.tls import http2_context  # noqa: PLC0415 (as above)

        own = Http2Server()
        return own, own.listen("127.0.0.1:0", http2_context(pair.certificate, pair.key) if pair is not None else None)
    server = grpc.aio.server(
        options=[
            ("grpc.so_reuseport", 0),
            # Clients try a silent connection each second.
            ("grpc.http2.min_ping_interval_without_data_ms", 200),
            ("grpc.http2.max_ping_strikes", 0),
        ]
    )
    if pair is None:
        return server, server.add_insecure_port("127.0.0.1:0")
    credentials = grpc.ssl_server_credentials([(pair.key.read_bytes(), pair.certificate.read_bytes())])
    return server, server.add_secure_port("127.0.0.1:0", credentials)


async def serve(front: str, pair: Pair | None) -> None:
    """Serves until standard input is closed, and prints the port first."""
    answers = ScriptedAnswers(load_cases())
    server, port = _listening(front, pair)
    server.add_generic_rpc_handlers((handlers(answers),))
    await server.start()
    answers.proxy = ResettingProxy(port)
    print(await answers.proxy.start(), flush=True)  # noqa: T201 (how callers learn the port)
    await asyncio.to_thread(sys.stdin.read)
    await answers.proxy.stop()
    await server.stop(0)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.conformance.server", description=__doc__)
    parser.add_argument("--tls-certificate", type=Path)
    parser.add_argument("--tls-key", type=Path)
    parser.add_argument("--front", choices=["grpc", "http2"], default="grpc")
    arguments = parser.parse_args()
    pair = Pair(arguments.tls_certificate, arguments.tls_key) if arguments.tls_certificate is not None else None
    asyncio.run(serve(arguments.front, pair))


def _name(request_id: str) -> str:
    return f"answers/{request_id}"


def _fill(step: dict[str, Any], names: dict[str, str]) -> dict[str, Any]:
    filled: dict[str, Any] = json.loads(string.Template(json.dumps(step)).safe_substitute(names))
    return filled


def _burst(*, sequence: int, piece: str, times: int) -> list[bytes]:
    size = len(piece.encode())
    return [
        answer_pb2.AnswerChunk(
            sequence=sequence + index, text=answer_pb2.TextDelta(text=piece, offset_bytes=index * size)
        ).SerializeToString()
        for index in range(times)
    ]


def _echo(key: str, context: Context) -> list[bytes]:
    metadata = dict(context.invocation_metadata() or ())
    text = str(metadata.get(key, "(none)"))
    name = "answers/echo"
    final = answer_pb2.Answer(
        name=name,
        state=answer_pb2.ANSWER_STATE_SUCCEEDED,
        text=text,
        finish_reason=answer_pb2.FINISH_REASON_STOP,
        last_sequence=4,
        text_crc32c=google_crc32c.value(text.encode()),
    )
    retrieved = answer_pb2.SourcesRetrieved()
    retrieved.statistics.SetInParent()
    chunks = [
        answer_pb2.AnswerChunk(sequence=1, started=answer_pb2.AnswerStarted(answer=name)),
        answer_pb2.AnswerChunk(sequence=2, retrieved=retrieved),
        answer_pb2.AnswerChunk(sequence=3, text=answer_pb2.TextDelta(text=text)),
        answer_pb2.AnswerChunk(sequence=4, answer=final),
    ]
    return [chunk.SerializeToString() for chunk in chunks]


async def _abort(value: dict[str, Any], context: Context) -> None:
    code = grpc.StatusCode[value["code"]]
    status = status_pb2.Status(code=code.value[0], message=value["message"])
    for detail in value.get("details", ()):
        status.details.append(json_format.ParseDict(detail, any_pb2.Any()))
    trailing = (("grpc-status-details-bin", status.SerializeToString()),) if status.details else ()
    await context.abort(code, value["message"], trailing)


if __name__ == "__main__":
    main()
