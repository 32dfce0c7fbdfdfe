"""From an assistant's stream to an answer's feed."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator

import anyio.lowlevel

from headwater.v1 import answer_pb2
from headwater.v1.answer_pb2 import AnswerChunk
from headwater_server.errors import Reason, ServiceError
from headwater_server.orchestrator.feed import Feed
from headwater_server.orchestrator.turns import gives_way
from headwater_server.orchestrator.watchdog import Watchdog

MAX_REASONING_BYTES = 32 * 1024 * 1024
"""How much an assistant may think aloud: far more than any model does, so that one that never ends fills no disk."""


class Relay:
    """Hands on what an assistant says.

    Args:
        feed: Where to.
        watchdog: Is told of what comes, and that the answer waits for its reader.
        goes_on: Whether the answer goes on without readers.
    """

    def __init__(self, feed: Feed, watchdog: Watchdog, *, goes_on: bool) -> None:
        self._feed = feed
        self._watchdog = watchdog
        self._goes_on = goes_on
        self._handed_on = 0
        self.over_long = False
        """Whether the assistant said more than an answer may hold."""
        self.continuations = 0
        """How often an assistant went on from what it had said."""

    async def hand_on(
        self, events: AsyncGenerator[AnswerChunk], *, room: int, begins_at: int | None = None
    ) -> answer_pb2.Answer | None:
        """Hands on the events of a stream until its end, or until its text, or its reasoning, has no more room.

        Args:
            events: The stream; the caller closes it.
            room: How many bytes of text there is room for.
            begins_at: Where its text has to begin, in bytes of the whole answer; None where it begins anew.

        Returns:
            Its last message. None where there was no more room (`over_long`), or it ended without one.

        Raises:
            ServiceError: It should go on, and begins anew (PROVIDER_PROTOCOL): nothing of it was handed on.
        """
        room_to_think = MAX_REASONING_BYTES
        async for event in events:
            kind = event.WhichOneof("event")
            if kind == "answer":
                self.continuations += begins_at is not None  # it had said all there is
                return event.answer
            spoken = event.text.text if kind == "text" else event.reasoning.text
            if spoken:
                if begins_at is not None:
                    _require_going_on(event, begins_at)
                    self.continuations += 1
                    begins_at = None
                self._watchdog.heard()
            if kind == "reasoning":
                room_to_think -= len(spoken.encode())
                if room_to_think < 0:
                    self.over_long = True
                    return None
            elif kind == "text":
                room -= len(spoken.encode())
                if room < 0:
                    self.over_long = True
                    await self._put_text(spoken.encode()[:room].decode(errors="ignore"))
                    return None
            if spoken or kind == "citation":
                await self._put(event)
        return None

    async def _put_text(self, text: str) -> None:
        if text:
            await self._put(AnswerChunk(text=answer_pb2.TextDelta(text=text)))

    async def _put(self, event: AnswerChunk) -> None:
        if self._feed.full and not self._goes_on:
            with self._watchdog.paused():
                await self._feed.wait_for_room()
        self._feed.put(event)
        self._handed_on += 1
        if gives_way(self._handed_on):
            await asyncio.sleep(0)
        if self._feed.deserted or (self._feed.full and self._goes_on):  # nobody asks for it
            await self._feed.flush()
            await anyio.lowlevel.checkpoint()  # an assistant that never waits must still be stopped


def _require_going_on(event: AnswerChunk, begins_at: int) -> None:
    """Makes sure that an assistant goes on: one that knows nothing of a prefix, or thinks first, starts again."""
    if not event.HasField("text") or event.text.offset_bytes != begins_at:
        raise ServiceError(
            Reason.PROVIDER_PROTOCOL, f"the assistant began anew where it was to go on after {begins_at} bytes"
        )
