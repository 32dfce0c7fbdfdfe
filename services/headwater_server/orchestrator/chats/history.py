"""What was said in a chat, as an assistant is given it."""

from __future__ import annotations

from headwater.v1.answer_service_pb2 import StreamAnswerRequest
from headwater.v1.chat_pb2 import CHAT_ROLE_ASSISTANT, CHAT_ROLE_USER, Chat, ChatMessage
from headwater_server.orchestrator.chats.protocol import Said
from headwater_server.orchestrator.transcript import MAX_SOURCES_BYTES, MAX_TEXT_BYTES

MAX_TURNS = 500
"""A request to an assistant has at most 1,000 messages, two a turn."""

_ROOM = 4 * 1024 * 1024 - 128 * 1024 - MAX_SOURCES_BYTES - MAX_TEXT_BYTES
"""What is left of a gRPC message of 4 MiB beside the largest sources that an answer may have, and the largest text that
an assistant may have to go on from, with some to spare."""
_MESSAGE_BYTES = 16
"""What two messages take beside their texts, at most."""


def room_beside(request: StreamAnswerRequest) -> int:
    """How many bytes of history a request to an assistant has room for, beside what the caller asks for."""
    return max(0, _ROOM - request.ByteSize() - MAX_TURNS * _MESSAGE_BYTES)


def messages_of(said: Said) -> list[ChatMessage]:
    """The messages of turns, oldest first: always one of the user's, and one of the assistant's."""
    return [
        ChatMessage(role=role, text=text)
        for prompt, answered in said.turns
        for role, text in ((CHAT_ROLE_USER, prompt), (CHAT_ROLE_ASSISTANT, answered))
    ]


def in_chat(request: StreamAnswerRequest, settings: Chat, said: Said) -> StreamAnswerRequest:
    """A request with what its chat adds to it: the conversation, and the chat's settings where it says nothing."""
    whole = StreamAnswerRequest()
    whole.CopyFrom(request)
    whole.history.extend(messages_of(said))
    if not whole.assistant:
        whole.assistant = settings.assistant
    if whole.WhichOneof("grounding") is None and settings.HasField("retrieval"):
        whole.retrieval.CopyFrom(settings.retrieval)
    return whole
