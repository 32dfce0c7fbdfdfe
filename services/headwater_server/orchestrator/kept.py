"""Answers as they are kept: found, listed, forgotten."""

from __future__ import annotations

from contextlib import suppress

from google.protobuf.message import DecodeError

from headwater.v1 import answer_pb2
from headwater.v1.answer_service_pb2 import ListAnswersRequest, ListAnswersResponse, StreamAnswerRequest
from headwater_server.errors import ResourceNotFound
from headwater_server.interfaces import Caller
from headwater_server.orchestrator.answer_log.protocol import AnswerLog, AnswerLogError, AnswerRecord
from headwater_server.orchestrator.chats.answers import TurnAnswer, record_of
from headwater_server.orchestrator.chats.conversations import Conversations
from headwater_server.orchestrator.listed import clear_contents
from headwater_server.orchestrator.logged import logged_transcript
from headwater_server.orchestrator.registry import Registry
from headwater_server.orchestrator.run import AnswerRun
from headwater_server.orchestrator.transcript import RuleBrokenError, header_of
from headwater_server.paging import MAX_PAGE_BYTES, PageTokens, page_of, page_size

DEFAULT_PAGE = 50

Found = AnswerRun | AnswerRecord


class KeptAnswers:
    """The answers of a server: those that run, and those in its log.

    Args:
        registry: Those that run.
        answer_log: The log.
        conversations: Has those of chats that the log has forgotten.
    """

    def __init__(self, registry: Registry, answer_log: AnswerLog, *, conversations: Conversations) -> None:
        self._registry = registry
        self._log = answer_log
        self._conversations = conversations
        self._tokens = PageTokens()

    async def find(self, caller: Caller, name: str) -> Found:
        """The caller's answer of this name: where it runs here, or as it is logged.

        Raises:
            ResourceNotFound: There is none, it has expired, or it is another's.
        """
        await self._registry.begun(name)
        run = self._registry.find(caller, name)
        if run is not None:
            return run
        record = await self._logged(await self._log.find(name))
        if record is None and (turn := await self._conversations.find(caller, name)) is not None:
            record = record_of(turn)
        if record is None or record.tenant != caller.tenant:
            raise ResourceNotFound(name)
        return self._registry.find(caller, name) or record

    async def find_request(self, caller: Caller, request_id: str) -> Found:
        """The caller's answer with this request_id.

        Raises:
            ResourceNotFound: There is none, or it has expired.
        """
        opening = self._registry.find_request(caller, request_id)
        if opening is not None:
            await opening.done.wait()
            if opening.run is not None:
                return opening.run
        record = await self._logged(await self._log.find_request(caller.tenant, request_id))
        if record is None and (turn := await self._conversations.find_request(caller, request_id)) is not None:
            record = record_of(turn)
        if record is None:
            raise ResourceNotFound(f"answers/(request_id {request_id})")
        return self._registry.find(caller, record.name) or record

    async def live(self, caller: Caller, name: str) -> answer_pb2.Answer | None:
        """The caller's answer of this name as it stands, if it runs, here or where the log is shared."""
        run = self._registry.find(caller, name)
        if run is not None:
            return await self.standing(run)
        record = await self._log.find(name)
        if record is None or record.ending or record.tenant != caller.tenant:
            return None
        return await self.standing(record)

    async def standing(self, found: Found) -> answer_pb2.Answer:
        """An answer as it stands; of one that runs elsewhere what is logged, and where that fails, what was asked."""
        if isinstance(found, AnswerRun):
            with suppress(AnswerLogError):  # where the log cannot be used, the answer's own end will say so
                await found.feed.flush_all()  # what is not logged may never have been said
        if isinstance(found, AnswerRun | TurnAnswer) or found.ending:
            return current(found)
        try:
            request = StreamAnswerRequest.FromString(found.request)
            transcript = await logged_transcript(self._log, found, request)
        except (AnswerLogError, DecodeError, RuleBrokenError):
            return current(found)
        answer = transcript.answer_so_far()
        if transcript.terminal is not None:  # it is about to be sealed
            answer.last_sequence -= 1
        return answer

    async def page(self, request: ListAnswersRequest, caller: Caller) -> ListAnswersResponse:
        """A page of the caller's answers, newest first, without their sources' contents.

        Raises:
            InvalidRequest: The page token is none of ours.
        """
        size = page_size(request.page_size, default=DEFAULT_PAGE)
        scope = ("answers", caller.tenant, str(request.state))
        position = _position(self._tokens.read(request.page_token, *scope))
        answers: list[answer_pb2.Answer] = []
        created: list[float] = []
        room = MAX_PAGE_BYTES
        while len(answers) <= size and room >= 0:
            records = await self._log.list_answers(
                caller.tenant, state=request.state or None, before=position, limit=size + 1 - len(answers)
            )
            if not records:
                break
            position = records[-1].created, records[-1].name
            for record in await self._conversations.still_kept(records):
                answer = await self.standing(self._registry.find(caller, record.name) or record)
                answers.append(_listed(answer))
                created.append(record.created)
                room -= answers[-1].ByteSize()
        page, more = page_of(answers, limit=size)
        response = ListAnswersResponse(answers=page)
        if more:
            last = len(page) - 1
            response.next_page_token = self._tokens.make(*scope, last=f"{created[last]!r} {page[last].name}")
        return response

    async def _logged(self, record: AnswerRecord | None) -> AnswerRecord | None:
        """What the log has of an answer, unless another server has deleted it."""
        kept = [] if record is None else await self._conversations.still_kept([record])
        return kept[0] if kept else None


def current(found: Found) -> answer_pb2.Answer:
    """An answer as it stands."""
    if isinstance(found, AnswerRun):
        return found.ending or found.transcript.answer_so_far()
    if found.ending:
        return answer_pb2.Answer.FromString(found.ending)
    request = StreamAnswerRequest.FromString(found.request)  # its owner has gone; it will be recovered
    answer = header_of(found.name, request, created=found.created)
    answer.state = answer_pb2.ANSWER_STATE_RUNNING
    return answer


def _listed(answer: answer_pb2.Answer) -> answer_pb2.Answer:
    bare = answer_pb2.Answer()
    bare.CopyFrom(answer)
    clear_contents(bare)
    return bare


def _position(last: str) -> tuple[float, str] | None:
    """When the last answer of a page was created, and its name, of what its token says."""
    created, _, name = last.partition(" ")
    return (float(created), name) if last else None
