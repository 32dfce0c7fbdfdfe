"""Answers that another process of the same server makes: read and stopped by way of it, and taken over when it dies."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import aclosing
from typing import TypeGuard

import anyio
import structlog

from headwater.v1 import answer_pb2
from headwater.v1.answer_pb2 import AnswerChunk
from headwater.v1.answer_service_pb2 import CancelAnswerRequest, ResumeAnswerRequest
from headwater_server.errors import PreconditionFailed, Reason, ServiceError
from headwater_server.interfaces import Caller
from headwater_server.orchestrator.answer_log.protocol import AnswerLogError, AnswerRecord
from headwater_server.orchestrator.chats.answers import TurnAnswer
from headwater_server.orchestrator.failures import draining, waiting
from headwater_server.orchestrator.kept import Found, KeptAnswers
from headwater_server.orchestrator.recovery import Recovery
from headwater_server.orchestrator.run import AnswerRun
from headwater_server.orchestrator.siblings import SiblingGoneError, Siblings

log = structlog.get_logger("headwater.answers")

ReadHere = Callable[[Found, int | None], AsyncGenerator[AnswerChunk]]
"""Reads an answer that runs here, or has ended, after a sequence; None for a snapshot first."""

StopHere = Callable[[Found], Awaitable[answer_pb2.Answer]]
"""Stops an answer that runs here, or has ended, and returns it as it ended."""

LOOK_SECONDS = 0.5
"""How often to look whether a sibling has died."""

SEARCH_SECONDS = 20.0
"""How long to look for whoever makes an answer before its reader is told to ask again: longer than a process may be
frozen before it is ended."""

_FIRST_PAUSE, _LONGEST_PAUSE = 0.02, 0.5


class Elsewhere:
    """Finds the processes that make answers, and stands between them and callers.

    Args:
        siblings: The other processes.
        kept: Finds answers.
        read_here: Reads an answer that runs here, or has ended, after a sequence.
        recovery: Goes on with the answers of those that have died.
        is_draining: Whether this process stops.
    """

    def __init__(
        self,
        siblings: Siblings,
        *,
        kept: KeptAnswers,
        read_here: ReadHere,
        recovery: Recovery,
        is_draining: Callable[[], bool],
    ) -> None:
        self._siblings = siblings
        self._kept = kept
        self._read_here = read_here
        self._recovery = recovery
        self._is_draining = is_draining
        self._wanted = anyio.Event()
        self._looked = anyio.Event()  # set at the end of the next look that begins

    def makes(self, found: Found) -> TypeGuard[AnswerRecord]:
        """Whether another process makes, or made, this answer, which has not ended."""
        return _is_unended(found) and found.owner != self._siblings.me

    async def watch(self) -> None:
        """Takes over the answers of siblings that have died, until it is cancelled."""
        while True:
            with anyio.move_on_after(LOOK_SECONDS):
                await self._wanted.wait()
            self._wanted = anyio.Event()
            looked, self._looked = self._looked, anyio.Event()
            try:
                await self._adopt()
            except AnswerLogError as error:
                log.warning("answers.unadopted", error=str(error))
            except Exception:
                log.exception("answers.unadopted")  # what one look meets stops neither the next nor the server
            finally:
                looked.set()

    async def read(self, record: AnswerRecord, caller: Caller, *, after: int | None) -> AsyncGenerator[AnswerChunk]:
        """The events of an answer to its end, whoever makes it meanwhile.

        Args:
            record: The answer, made by another process.
            caller: Who reads.
            after: The sequence that the reader has; None for a snapshot first.

        Raises:
            ServiceError: What the owner says; or nobody could be found who makes the answer.
        """
        search = _Search(record.name)
        found: Found = record
        while self.makes(found):
            request = ResumeAnswerRequest(name=record.name, after_sequence=after)
            try:
                async with aclosing(self._siblings.resume(request, caller, owner=found.owner)) as chunks:
                    async for chunk in chunks:
                        yield chunk
                        after = chunk.sequence
                        search.found()
            except (SiblingGoneError, ServiceError) as error:
                if not _has_left(error):
                    raise
                found = await self._found_anew(record.name, caller, search, error)
            else:
                return
        async with aclosing(self._read_here(found, after)) as chunks:
            async for chunk in chunks:
                yield chunk

    async def cancelled(self, record: AnswerRecord, caller: Caller) -> answer_pb2.Answer | Found:
        """Has an answer stopped by the process that makes it.

        Returns:
            The answer as it ended, or where it is no more another's: as it is found here.

        Raises:
            ServiceError: What the owner says; or nobody could be found who makes the answer.
        """
        search = _Search(record.name)
        found: Found = record
        while self.makes(found):
            try:
                request = CancelAnswerRequest(name=record.name)
                return await self._siblings.cancel(request, caller, owner=found.owner)
            except (SiblingGoneError, ServiceError) as error:
                if not _has_left(error):
                    raise
                found = await self._found_anew(record.name, caller, search, error)
        return found

    async def _found_anew(self, name: str, caller: Caller, search: _Search, error: Exception) -> Found:
        """An answer, after its owner could not be asked; the dead one's are taken over first."""
        if self._is_draining():
            raise draining(name) from error
        await search.pause(error)
        found = await self._kept.find(caller, name)
        if self.makes(found) and not self._siblings.is_alive(found.owner):
            await self._look_now()
            found = await self._kept.find(caller, name)
        return found

    async def _look_now(self) -> None:
        """Has `watch` look at once, and waits until it has: a caller who goes away must not take the answers along."""
        looked = self._looked
        self._wanted.set()
        with anyio.move_on_after(SEARCH_SECONDS):
            await looked.wait()

    async def _adopt(self) -> None:
        """Goes on with the answers of dead siblings."""
        if self._is_draining():
            return
        records = await self._siblings.orphans()
        if records:
            log.info("answers.adopted", answers=len(records))
            self._recovery.start(records)


class Here:
    """The part of the answer service that siblings call: about answers that this process makes, and no others.

    Args:
        kept: Finds answers.
        read: Reads one that runs here, or has ended.
        stop: Stops one that runs here, and returns it as it ended.
    """

    def __init__(
        self,
        kept: KeptAnswers,
        *,
        read: ReadHere,
        stop: StopHere,
    ) -> None:
        self._kept = kept
        self._read = read
        self._stop = stop

    async def resume_answer(self, request: ResumeAnswerRequest, caller: Caller) -> AsyncGenerator[AnswerChunk]:
        """Goes on with an answer's stream. Closing it is a disconnect.

        Raises:
            PreconditionFailed: This process does not make it.
        """
        found = await self._found(request.name, caller)
        after = request.after_sequence if request.HasField("after_sequence") else None
        async with aclosing(self._read(found, after)) as chunks:
            async for chunk in chunks:
                yield chunk

    async def cancel_answer(self, request: CancelAnswerRequest, caller: Caller) -> answer_pb2.Answer:
        """Stops an answer, and returns it as it ended.

        Raises:
            PreconditionFailed: This process does not make it.
        """
        return await self._stop(await self._found(request.name, caller))

    async def _found(self, name: str, caller: Caller) -> Found:
        found = await self._kept.find(caller, name)
        if not isinstance(found, AnswerRun) and not found.ending:
            raise PreconditionFailed(f"this process does not make {name}")
        return found


class _Search:
    """How long somebody has looked for whoever makes an answer."""

    def __init__(self, name: str) -> None:
        self._name = name
        self.found()

    def found(self) -> None:
        """It was found: the next search begins anew."""
        self._pause = _FIRST_PAUSE
        self._until = anyio.current_time() + SEARCH_SECONDS

    async def pause(self, error: Exception) -> None:
        """Waits before the next look.

        Raises:
            ServiceError: It was looked for long enough.
        """
        if anyio.current_time() > self._until:
            raise waiting(self._name) from error
        await anyio.sleep(self._pause)
        self._pause = min(2 * self._pause, _LONGEST_PAUSE)


def _is_unended(found: Found) -> TypeGuard[AnswerRecord]:
    return not isinstance(found, AnswerRun | TurnAnswer) and not found.ending


def _has_left(error: Exception) -> bool:
    """Whether a sibling does not make an answer any more, or is about to leave it to others."""
    return not isinstance(error, ServiceError) or error.reason is Reason.SERVER_DRAINING
