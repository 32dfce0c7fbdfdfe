"""Answers as they are kept: found, listed, forgotten."""

from __future__ import annotations

from headwater.v1 import answer_pb2
from headwater.v1.answer_service_pb2 import ListAnswersRequest, ListAnswersResponse, StreamAnswerRequest
from headwater_server.errors import ResourceNotFound
from headwater_server.interfaces import Caller
from headwater_server.orchestrator.answer_log.protocol import AnswerLog, AnswerRecord
from headwater_server.orchestrator.registry import Registry
from headwater_server.orchestrator.run import AnswerRun
from headwater_server.orchestrator.transcript import header
from headwater_server.paging import PageTokens, page_of, page_size

DEFAULT_PAGE = 50

Found = AnswerRun | AnswerRecord


class KeptAnswers:
    """The answers of a server: those that run, and those in its log.

    Args:
        registry: Those that run.
        answer_log: The log.
    """

    def __init__(self, registry: Registry, answer_log: AnswerLog) -> None:
        self._registry = registry
        self._log = answer_log
        self._tokens = PageTokens()

    async def find(self, caller: Caller, name: str) -> Found:
        """The caller's answer of this name: where it runs here, or as it is logged.

        Raises:
            ResourceNotFound: There is none, it has expired, or it is another's.
        """
        run = self._registry.find(caller, name)
        if run is not None:
            return run
        record = await self._log.find(name)
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
        record = await self._log.find_request(caller.tenant, request_id)
        if record is None:
            raise ResourceNotFound(f"answers/(request_id {request_id})")
        return self._registry.find(caller, record.name) or record

    async def page(self, request: ListAnswersRequest, caller: Caller) -> ListAnswersResponse:
        """A page of the caller's answers, newest first, without their sources' contents.

        Raises:
            InvalidRequest: The page token is none of ours.
        """
        size = page_size(request.page_size, default=DEFAULT_PAGE)
        scope = ("answers", caller.tenant, str(request.state))
        records = await self._log.list_answers(
            caller.tenant,
            state=request.state or None,
            before=_position(self._tokens.read(request.page_token, *scope)),
            limit=size + 1,
        )
        answers = (_without_contents(current(self._registry.find(caller, record.name) or record)) for record in records)
        page, more = page_of(answers, limit=size)
        response = ListAnswersResponse(answers=page)
        if more:
            last = records[len(page) - 1]
            response.next_page_token = self._tokens.make(*scope, last=f"{last.created!r} {last.name}")
        return response


def current(found: Found) -> answer_pb2.Answer:
    """An answer as it stands."""
    if isinstance(found, AnswerRun):
        return found.ending or found.transcript.answer_so_far()
    if found.ending:
        return answer_pb2.Answer.FromString(found.ending)
    request = StreamAnswerRequest.FromString(found.request)  # its owner has gone; it will be recovered
    answer = header(
        name=found.name,
        request_id=found.request_id,
        prompt=request.prompt,
        labels=request.labels,
        created_at=found.created,
    )
    answer.state = answer_pb2.ANSWER_STATE_RUNNING
    return answer


def _without_contents(answer: answer_pb2.Answer) -> answer_pb2.Answer:
    bare = answer_pb2.Answer()
    bare.CopyFrom(answer)
    for source in bare.sources:
        source.ClearField("content")
    return bare


def _position(last: str) -> tuple[float, str] | None:
    """When the last answer of a page was created, and its name, of what its token says."""
    created, _, name = last.partition(" ")
    return (float(created), name) if last else None
