"""FastAPI with server-sent events, in the form that Ragna has: what most would write first over HTTP.

It runs in the environment of the peers (see `peers`). As in Ragna 0.2 the upstream is read by httpx and httpx-sse,
each event parsed by `json`; each piece goes out as an event with a message, which pydantic makes into JSON anew; and
the end of the body is all that says that it is whole.
"""

from __future__ import annotations

import argparse
import asyncio
import importlib
import json
import socket
from collections.abc import AsyncIterator
from typing import Any, Literal

import httpx
from pydantic import BaseModel

# They are in the peers' own environment alone, so their types are not known to the rest of the repository.
fastapi: Any = importlib.import_module("fastapi")
httpx_sse: Any = importlib.import_module("httpx_sse")
sse_starlette: Any = importlib.import_module("sse_starlette")
uvicorn: Any = importlib.import_module("uvicorn")


class Question(BaseModel):
    """What is asked."""

    prompt: str
    model: str
    stream: Literal[True]


class Message(BaseModel):
    """What is sent for each piece."""

    content: str
    role: str = "assistant"
    sources: list[str] = []


class Relay:
    """Answers by asking the upstream."""

    def __init__(self, upstream: str) -> None:
        self._url = f"{upstream}/chat/completions"
        self._client = httpx.AsyncClient(timeout=600, limits=httpx.Limits(max_connections=None), trust_env=False)

    async def answer(self, question: Question) -> Any:
        """The answer to a question, as a stream of events."""
        return sse_starlette.EventSourceResponse(self._messages(question))

    async def _messages(self, question: Question) -> AsyncIterator[Any]:
        message = Message(content="")
        said = []
        async for piece in self._pieces(question):
            said.append(piece)
            message.content = piece
            yield sse_starlette.ServerSentEvent(message.model_dump_json())

    async def _pieces(self, question: Question) -> AsyncIterator[str]:
        document = {
            "model": question.model.split("/", 1)[1],
            "messages": [{"role": "user", "content": question.prompt}],
            "stream": True,
        }
        async with httpx_sse.aconnect_sse(self._client, "POST", self._url, json=document) as events:
            events.response.raise_for_status()
            async for event in events.aiter_sse():
                if event.data == "[DONE]":
                    break
                for choice in json.loads(event.data)["choices"]:
                    if choice["finish_reason"] is None:
                        yield choice["delta"]["content"]


class Server(uvicorn.Server):  # type: ignore[misc]  # uvicorn's types are not known here
    """Says where it listens once it does."""

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Starts to listen."""
        await super().startup(sockets=sockets)
        for opened in sockets or []:
            print(f"ready 127.0.0.1:{opened.getsockname()[1]}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description="The relay in Ragna's form.")
    parser.add_argument("--upstream", required=True, help="the OpenAI-compatible server's URL, up to and with /v1")
    relay = Relay(parser.parse_args().upstream)
    app = fastapi.FastAPI()
    app.add_api_route("/answer", relay.answer, methods=["POST"])
    listener = socket.create_server(("127.0.0.1", 0), backlog=2048)
    server = Server(uvicorn.Config(app, log_level="warning", loop="uvloop"))
    server_loop = asyncio.Runner(loop_factory=server.config.get_loop_factory())
    with server_loop as runner:
        runner.run(server.serve(sockets=[listener]))


if __name__ == "__main__":
    main()
