"""The assistant `builtin/extractive`, as a stream of events."""

from __future__ import annotations

import os
from collections.abc import AsyncGenerator, Callable, Iterator, Sequence
from functools import partial

import anyio
import anyio.from_thread
import anyio.to_thread

from headwater_server.assistant.extractive.answering import Found, find
from headwater_server.assistant.extractive.candidates import Candidate
from headwater_server.assistant.protocol import (
    AbstainReason,
    CitationStyle,
    Cite,
    Event,
    Evidence,
    Finished,
    FinishReason,
    GenerateRequest,
    Model,
    Provider,
    ProviderSettings,
    Sampling,
    Source,
    Text,
    Usage,
)
from headwater_server.assistant.sentences import Kind
from headwater_server.errors import InvalidRequest, ResourceNotFound
from headwater_server.names import assistant_name
from headwater_server.owned_tasks import owned_tasks
from headwater_server.text import utf8_prefix

MODEL = Model(
    id="extractive",
    display_name="Extractive",
    description="Quotes the sentences of the sources that best answer the question. No model, nothing invented.",
    citations=CitationStyle.NATIVE,
    continues_prefix=True,
)

_IN_LOOP_CHARACTERS = 8_000
_MAX_QUOTE_BYTES = 512
_NO_COST = Usage(input_tokens=0, output_tokens=0)


class ExtractiveAssistant:
    """Answers with sentences of the sources, word for word."""

    model = MODEL

    def __init__(self) -> None:
        self._threads = anyio.CapacityLimiter(max(os.cpu_count() or 1, 2))

    async def generate(self, request: GenerateRequest) -> AsyncGenerator[Event]:
        """Answers; see `Assistant.generate`.

        The sampling settings of language models are refused, apart from `max_output_tokens`, which ends the answer
        after the last whole sentence that fits, and `seed`, as the same question always gets the same answer. So an
        answer that was interrupted is made again, and goes on where it stopped.

        Raises:
            InvalidRequest: A sampling setting has no meaning here, or the answer does not begin with the prefix.
        """
        _check(request.sampling)
        found = await self._find(request)
        if request.prefix:
            _require_beginning(request.prefix, found.sentences)
        if not any(source.text.strip() for source in request.sources):
            yield Finished(FinishReason.ABSTAINED, _NO_COST, abstain_reason=AbstainReason.NO_SOURCES)
            return
        if not found.sentences or not found.relevance.enough:
            yield Finished(FinishReason.ABSTAINED, _NO_COST, abstain_reason=AbstainReason.LOW_RELEVANCE)
            return
        room = None if request.sampling.max_output_tokens is None else request.sampling.max_output_tokens * 4
        position, said = 0, len(request.prefix.encode())
        for text, candidate in _spoken(found.sentences):
            encoded = text.encode()
            if room is not None and position + len(encoded) > room:
                yield Finished(FinishReason.MAX_TOKENS, _NO_COST)
                return
            if new := encoded[max(said - position, 0) :].decode():
                yield Text(new)
            position += len(encoded)
            yield _cite(candidate, request.sources, end=position)
            await anyio.lowlevel.checkpoint()
        yield Finished(FinishReason.STOP, _NO_COST)

    async def _find(self, request: GenerateRequest) -> Found:
        """Small questions are answered at once; large ones in a thread, so that the event loop goes on."""
        if sum(len(source.text) for source in request.sources) <= _IN_LOOP_CHARACTERS:
            return find(request.question, request.sources)
        return await self._in_thread(
            partial(find, request.question, request.sources, step=anyio.from_thread.check_cancelled)
        )

    async def _in_thread(self, work: Callable[[], Found]) -> Found:
        """Computes in a thread. Where nobody waits for it any more, the thread ends at its next step, then this does.

        So there are never more threads than places for them. The thread is waited for in a task of its own, because a
        task that asyncio cancels, and not a scope of anyio's, would leave its thread behind; the owner of a task does
        not, whichever of the two cancels it.
        """
        outcome: Found | Exception | None = None

        async def compute() -> None:
            nonlocal outcome
            try:
                outcome = await anyio.to_thread.run_sync(work, limiter=self._threads)
            except Exception as error:
                outcome = error

        async with owned_tasks(cancel=False) as tasks:
            tasks.start_soon(compute)
        if isinstance(outcome, Found):
            return outcome
        raise outcome or AssertionError("neither found nor failed")


class BuiltinProvider:
    """The provider `builtin`, with its one model."""

    def __init__(self) -> None:
        self._assistant = ExtractiveAssistant()

    def assistant(self, model: str) -> ExtractiveAssistant:
        """The assistant.

        Raises:
            ResourceNotFound: It is asked for another model than `extractive`.
        """
        if model != MODEL.id:
            name = assistant_name(f"builtin/{model}")
            raise ResourceNotFound(name, f"{name} does not exist: there is builtin/{MODEL.id}")
        return self._assistant

    async def models(self) -> Sequence[Model]:
        """The one model."""
        return [MODEL]

    async def aclose(self) -> None:
        """Closes nothing: nothing is open."""


def provider(settings: ProviderSettings) -> Provider:
    """Makes the provider: the entry point `builtin`.

    Raises:
        ValueError: It was given a setting; it has none.
    """
    if settings.options or settings.base_url or settings.api_key:
        raise ValueError(f"assistants.{settings.name}: the built-in assistant has no settings")
    return BuiltinProvider()


def _check(sampling: Sampling) -> None:
    meaningless = {
        "temperature": sampling.temperature,
        "top_p": sampling.top_p,
        "stop_sequences": sampling.stop_sequences,
        "provider_options": sampling.provider_options,
    }
    for name, value in meaningless.items():
        if value:
            raise InvalidRequest(f"generation.{name}", "builtin/extractive quotes its sources and has no such setting")


def _spoken(sentences: Sequence[Candidate]) -> Iterator[tuple[str, Candidate]]:
    """The text of each sentence with what joins it to the one before: a blank, a line for an item, a new paragraph."""
    before: Candidate | None = None
    for sentence in sentences:
        listed = sentence.kind in {Kind.ITEM, Kind.ROW}
        joint = ""
        if before is not None:
            apart = before.source != sentence.source
            joint = "\n\n" if apart or ((before.kind in {Kind.ITEM, Kind.ROW}) != listed and not listed) else " "
            joint = "\n" if listed and not apart else joint
        yield joint + ("- " if sentence.kind is Kind.ITEM else "") + sentence.text, sentence
        before = sentence


def _require_beginning(prefix: str, sentences: Sequence[Candidate]) -> None:
    if not "".join(text for text, _ in _spoken(sentences)).startswith(prefix):
        raise InvalidRequest("prefix", "is not how builtin/extractive answers this from these sources now")


def _cite(candidate: Candidate, sources: Sequence[Source], *, end: int) -> Cite:
    source = sources[candidate.source]
    quote = utf8_prefix(source.text[candidate.start : candidate.end], _MAX_QUOTE_BYTES)
    return Cite(end - len(candidate.text.encode()), end, [Evidence(source.id, quote)])
