"""The relay that one writes first: grpc.aio, httpx as it comes, json, and a message for each token.

python -m benchmarks.relay.naive --upstream http://127.0.0.1:8000/v1

It follows the rules of the stream as the Go relay does, and has nothing else of Headwater.
"""

from __future__ import annotations

import argparse
import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any
from uuid import uuid4

import google_crc32c
import grpc
import httpx

from headwater.v1 import answer_pb2, source_pb2
from headwater.v1.answer_pb2 import AnswerChunk
from headwater.v1.answer_service_pb2 import StreamAnswerRequest


class NaiveRelay:
    """Answers by asking the upstream, without grounding or with the caller's own sources."""

    def __init__(self, upstream: str) -> None:
        self._url = f"{upstream}/chat/completions"
        self._client = httpx.AsyncClient(timeout=600, limits=httpx.Limits(max_connections=None), trust_env=False)

    async def stream_answer(self, request: StreamAnswerRequest, context: Any) -> AsyncIterator[AnswerChunk]:
        answer = _answer(request)
        sequence, offset = 2, 0
        started = answer_pb2.AnswerStarted(
            answer=answer.name, assistant=answer.assistant, create_time=answer.create_time
        )
        yield AnswerChunk(sequence=1, started=started)
        statistics = source_pb2.RetrievalStatistics()
        retrieved = answer_pb2.SourcesRetrieved(sources=answer.sources, statistics=statistics)
        yield AnswerChunk(sequence=2, retrieved=retrieved)
        done = False
        async with self._client.stream("POST", self._url, json=_document(answer)) as response:
            response.raise_for_status()
            async for line in response.aiter_lines():
                if not line.startswith("data: "):
                    continue
                if line == "data: [DONE]":
                    done = True
                    break
                text = _text(json.loads(line[6:]), answer)
                if text:
                    sequence += 1
                    delta = answer_pb2.TextDelta(text=text, offset_bytes=offset)
                    offset += len(text.encode())
                    answer.text += text
                    yield AnswerChunk(sequence=sequence, text=delta)
        if not done:
            await context.abort(grpc.StatusCode.UNAVAILABLE, "the upstream's stream ended before [DONE]")
        answer.state = answer_pb2.ANSWER_STATE_SUCCEEDED
        answer.text_crc32c = google_crc32c.value(answer.text.encode())
        answer.complete_time.GetCurrentTime()
        answer.last_sequence = sequence + 1
        yield AnswerChunk(sequence=sequence + 1, answer=answer)


def _answer(request: StreamAnswerRequest) -> answer_pb2.Answer:
    answer = answer_pb2.Answer(name=f"answers/{uuid4().hex}", prompt=request.prompt)
    answer.assistant = f"assistants/{request.assistant.removeprefix('assistants/')}"
    answer.create_time.GetCurrentTime()
    for number, given in enumerate(request.provided.sources, start=1):
        source = answer.sources.add()
        source.CopyFrom(given)
        source.id = str(number)
        source.disposition = source_pb2.SOURCE_DISPOSITION_PRESENTED
    return answer


def _document(answer: answer_pb2.Answer) -> dict[str, object]:
    sources = "".join(f"[{source.id}] {source.content}\n\n" for source in answer.sources)
    return {
        "model": answer.assistant.split("/", 2)[2],
        "messages": [{"role": "user", "content": sources + answer.prompt}],
        "stream": True,
        "stream_options": {"include_usage": True},
    }


def _text(event: dict[str, Any], answer: answer_pb2.Answer) -> str:
    """The text that an event of the upstream adds; what it says of the end is kept in the answer."""
    answer.model_version = event["model"]
    if event.get("usage"):
        answer.usage.input_tokens = event["usage"]["prompt_tokens"]
        answer.usage.output_tokens = event["usage"]["completion_tokens"]
        answer.usage.origin = answer_pb2.USAGE_ORIGIN_REPORTED
    text = ""
    for choice in event["choices"]:
        if choice["finish_reason"] == "stop":
            answer.finish_reason = answer_pb2.FINISH_REASON_STOP
        text += choice["delta"].get("content", "")
    return text


async def main() -> None:
    parser = argparse.ArgumentParser(description="The naive relay.")
    parser.add_argument("--upstream", required=True, help="the OpenAI-compatible server's URL, up to and with /v1")
    server = grpc.aio.server()
    relay = NaiveRelay(parser.parse_args().upstream)
    handler = grpc.unary_stream_rpc_method_handler(
        relay.stream_answer,
        request_deserializer=StreamAnswerRequest.FromString,
        response_serializer=AnswerChunk.SerializeToString,
    )
    service = grpc.method_handlers_generic_handler("headwater.v1.AnswerService", {"StreamAnswer": handler})
    server.add_generic_rpc_handlers((service,))
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    print(f"ready 127.0.0.1:{port}", flush=True)
    await server.wait_for_termination()


if __name__ == "__main__":
    asyncio.run(main())
