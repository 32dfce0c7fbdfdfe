"""What an answer rests on: sources that the caller provided, or that the retrieval service found."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import aclosing
from dataclasses import dataclass, field

import anyio

from headwater.v1 import source_pb2
from headwater.v1.answer_service_pb2 import StreamAnswerRequest
from headwater.v1.retrieval_service_pb2 import RetrieveRequest
from headwater_server.errors import ServiceError, ServiceUnreachable
from headwater_server.interfaces import Caller, Retrieval
from headwater_server.orchestrator.provided import provided_sources
from headwater_server.orchestrator.searching.fusing import fused, statistics_of_both
from headwater_server.orchestrator.searching.query import FollowUpQuery
from headwater_server.orchestrator.trying import Tries, is_passing


@dataclass(slots=True)
class Sources:
    """Sources, best first, and how the search went."""

    found: list[source_pb2.Source] = field(default_factory=list)
    statistics: source_pb2.RetrievalStatistics = field(default_factory=source_pb2.RetrievalStatistics)
    """Empty where there was no search."""


def is_searched(request: StreamAnswerRequest) -> bool:
    """Whether a request is answered from what the retrieval service finds."""
    return request.WhichOneof("grounding") in {None, "retrieval"}


async def sources_of(
    request: StreamAnswerRequest, retrieval: Retrieval, caller: Caller, *, made: FollowUpQuery | None = None
) -> Sources:
    """The sources to answer a request from; none where it asks for the assistant's own knowledge.

    Where the connection to the retrieval service breaks, it is asked again a few times.

    Args:
        request: What is asked.
        retrieval: The retrieval service.
        caller: Who asks.
        made: What to search for, made of the conversation; None: what the request says, or its prompt.
    """
    if request.WhichOneof("grounding") == "provided":
        return Sources(list(provided_sources(request.provided)))
    if not is_searched(request):
        return Sources()
    options = source_pb2.RetrievalOptions()
    options.CopyFrom(request.retrieval)
    if not options.query.strip():
        options.query = request.prompt
    if made is None or not made.text:
        return await _persistent_search(options, retrieval, caller)
    for_turns = source_pb2.RetrievalOptions()
    for_turns.CopyFrom(options)
    for_turns.query = made.text
    if made.beside_prompt:
        sources = await _search_both(options, for_turns, retrieval, caller)
    else:
        sources = await _persistent_search(for_turns, retrieval, caller)
    sources.statistics.query = made.text
    return sources


async def _search_both(
    for_prompt: source_pb2.RetrievalOptions,
    for_turns: source_pb2.RetrievalOptions,
    retrieval: Retrieval,
    caller: Caller,
) -> Sources:
    """What two searches find together."""
    found: dict[str, Sources] = {}
    failures: list[Exception] = []

    async def search(options: source_pb2.RetrievalOptions) -> None:
        try:
            found[options.query] = await _persistent_search(options, retrieval, caller)
        except Exception as error:  # raised below, as it is and not in a group
            failures.append(error)
            tasks.cancel_scope.cancel()

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(search, for_prompt)
        tasks.start_soon(search, for_turns)
    if failures:
        raise failures[0]
    by_prompt, by_turns = found[for_prompt.query], found[for_turns.query]
    statistics = statistics_of_both(by_prompt.statistics, by_turns.statistics)
    fitting = list(_within(fused(by_prompt.found, by_turns.found), for_turns.token_budget))
    return Sources(fitting, statistics)


def _within(sources: Iterable[source_pb2.Source], token_budget: int) -> Iterator[source_pb2.Source]:
    """As many sources as have no more tokens than a budget, estimated at 4 bytes each; all if it is 0."""
    left = token_budget
    for source in sources:
        left -= -(-len(source.content.encode()) // 4)
        if token_budget and left < 0:
            return
        yield source


async def _persistent_search(options: source_pb2.RetrievalOptions, retrieval: Retrieval, caller: Caller) -> Sources:
    """A search that is tried again a few times where the connection to the retrieval service breaks."""
    tries = Tries()
    while True:
        try:
            return await _search(RetrieveRequest(options=options), retrieval, caller)
        except ServiceError as error:  # nothing of it was handed on yet
            if not is_passing(error):
                raise
            await tries.another(error)


async def _search(request: RetrieveRequest, retrieval: Retrieval, caller: Caller) -> Sources:
    sources = Sources()
    complete = False
    async with aclosing(retrieval.retrieve(request, caller)) as batches:
        async for batch in batches:
            sources.found += batch.sources
            if batch.HasField("statistics"):
                complete = True
                sources.statistics = batch.statistics
    if not complete:
        raise ServiceUnreachable("retrieval")  # it ended without its last message
    return sources
