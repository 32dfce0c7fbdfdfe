"""A question that stands alone, made by an assistant of one that follows others."""

from __future__ import annotations

from contextlib import aclosing

import anyio
import structlog

from headwater.v1 import generation_pb2
from headwater.v1.answer_service_pb2 import StreamAnswerRequest
from headwater.v1.assistant_service_pb2 import StreamGenerateRequest
from headwater.v1.chat_pb2 import CHAT_ROLE_USER, ChatMessage
from headwater_server.interfaces import Assistants, Caller
from headwater_server.text import utf8_prefix

log = structlog.get_logger("headwater.chats")

MAX_SECONDS = 8.0
"""How long the assistant may take; then the query is made without it."""
MAX_BYTES = 1024
"""How long a query may be; what is longer is no question any more."""

_MESSAGES = 6
_MESSAGE_BYTES = 1500
_OUTPUT_TOKENS = 256
_INSTRUCTIONS = (
    "You prepare searches. You are given a conversation and the question that follows it. Write that question so that"
    " it can be understood without the conversation: put in the names and things that it only points to. Do not answer"
    " it, and change nothing else. If it can be understood already, repeat it. Write it in its own language, on one"
    " line, and nothing but the question."
)


class Condenser:
    """Asks assistants to make questions stand alone.

    Args:
        assistants: The assistant service.
    """

    def __init__(self, assistants: Assistants) -> None:
        self._assistants = assistants

    async def condensed(self, request: StreamAnswerRequest, caller: Caller, *, assistant: str) -> str:
        """The prompt as a question that stands alone; empty where the assistant gave none in time.

        Args:
            request: What is asked, with the conversation before it.
            caller: Who asks.
            assistant: The name of the assistant.
        """
        said = ""
        with anyio.move_on_after(MAX_SECONDS) as waited:
            try:
                said = await self._ask(request, caller, assistant)
            except Exception as error:  # of whatever kind: the question is answered without it
                log.warning("condensation.failed", assistant=assistant, error=str(error))
        if waited.cancelled_caught:
            log.warning("condensation.slow", assistant=assistant, seconds=MAX_SECONDS)
        return " ".join(said.split())

    async def _ask(self, request: StreamAnswerRequest, caller: Caller, assistant: str) -> str:
        asked = StreamGenerateRequest(
            assistant=assistant,
            prompt=_task(request),
            generation=generation_pb2.GenerationOptions(
                instructions=_INSTRUCTIONS, temperature=0, max_output_tokens=_OUTPUT_TOKENS
            ),
            abstain_policy=generation_pb2.ABSTAIN_POLICY_NEVER,
        )
        said = ""
        async with aclosing(self._assistants.stream_generate(asked, caller)) as events:
            async for event in events:
                match event.WhichOneof("event"):
                    case "text":
                        said += event.text.text
                        if len(said.encode()) > MAX_BYTES:
                            return ""
                    case "answer":
                        return said
        return ""  # it broke off: who knows what was still to come


def _task(request: StreamAnswerRequest) -> str:
    """The conversation as data, and what is to be done with it: no model takes it for a talk to go on with."""
    lines = [f"{_who(message)}: {_short(message.text)}" for message in request.history[-_MESSAGES:]]
    conversation = "\n".join(lines)
    return (
        f"<conversation>\n{conversation}\n</conversation>\n<question>\n{_short(request.prompt)}\n</question>\n"
        "The question, so that it stands alone:"
    )


def _who(message: ChatMessage) -> str:
    return "user" if message.role == CHAT_ROLE_USER else "assistant"


def _short(text: str) -> str:
    return " ".join(utf8_prefix(text, _MESSAGE_BYTES).split())
