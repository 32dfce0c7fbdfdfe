"""The assistant service's core: from a request to a stream of chunks."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing, asynccontextmanager
from functools import partial
from itertools import chain

from anyio.abc import TaskGroup

from headwater.v1 import answer_pb2, assistant_service_pb2, generation_pb2
from headwater_server.assistant import messages
from headwater_server.assistant.budget import BYTES_A_TOKEN
from headwater_server.assistant.config import AssistantConfig, AssistantConfigError
from headwater_server.assistant.exchange import Exchange, abstention
from headwater_server.assistant.failover import Attempt, ProviderHealth, Spoken, first_to_speak
from headwater_server.assistant.listing import AssistantList
from headwater_server.assistant.prompts import PromptTemplate
from headwater_server.assistant.protocol import Event
from headwater_server.assistant.registry import ProviderRegistry
from headwater_server.assistant.warming import Warming
from headwater_server.errors import InvalidRequest
from headwater_server.interfaces import Caller
from headwater_server.names import assistant_id, assistant_name
from headwater_server.owned_tasks import owned_tasks
from headwater_server.paging import PageTokens, page_of, page_size

_MOST_WARMED = 16
SMALL_CONTEXT = 2_048
"""Tokens that any model's context has room for: what is shorter is sent without knowing how large the context is."""


class AssistantCore:
    """The assistant service, in the process of whoever calls it; implements `interfaces.Assistants`.

    Any number of answers run at once, and none waits for another.
    """

    def __init__(self, registry: ProviderRegistry, config: AssistantConfig, *, tasks: TaskGroup | None = None) -> None:
        """Makes the service.

        Args:
            registry: The providers.
            config: The settings.
            tasks: What owns the work behind the requests: connections that are opened beforehand, and lists that say
                how large contexts are. None: it is not done.

        Raises:
            AssistantConfigError: The prompt template is not as it must be, or a fallback's provider is not there.
        """
        for name in chain.from_iterable([wanted, *others] for wanted, others in config.failover.fallbacks.items()):
            if name.partition("/")[0] not in registry.names:
                raise AssistantConfigError(f"failover.fallbacks: there is no provider of {name!r}")
        self._registry = registry
        self._list = AssistantList(registry, config, tasks=tasks)
        self._warming = Warming(registry, tasks)
        self._tokens = PageTokens()
        self._template = PromptTemplate(config.prompt_template)
        self._policy = config.failover
        self._health = ProviderHealth(config.failover)
        for provider in self._first_asked(config):
            self._warming.begin(provider)

    def expect(self, assistant: str) -> None:
        """Says that an assistant will be asked in a moment, so that its provider opens a connection meanwhile.

        Never waits, never fails, and sends nothing.

        Args:
            assistant: Its name, as in a request; one that does not exist is passed over.
        """
        self._warming.begin((assistant_id(assistant) or self._registry.default).partition("/")[0])

    async def list_assistants(
        self, request: assistant_service_pb2.ListAssistantsRequest, caller: Caller
    ) -> assistant_service_pb2.ListAssistantsResponse:
        """Lists assistants; see `AssistantService.ListAssistants`."""
        del caller  # every caller may use every assistant
        everything = await self._list.all()
        # A token stands for a name: a page begins behind the last one's end, even where the list has changed.
        last = self._tokens.read(request.page_token, "assistants")
        following = everything[bisect_right(everything, last, key=lambda item: item[0]) :]
        default = assistant_name(self._registry.default)
        page, more = page_of(
            (messages.assistant_message(name, model, is_default=name == default) for name, model in following),
            limit=page_size(request.page_size),
        )
        return assistant_service_pb2.ListAssistantsResponse(
            assistants=page, next_page_token=self._tokens.make("assistants", last=page[-1].name) if more else ""
        )

    async def get_assistant(
        self, request: assistant_service_pb2.GetAssistantRequest, caller: Caller
    ) -> assistant_service_pb2.Assistant:
        """Returns one assistant; see `AssistantService.GetAssistant`."""
        del caller
        name, assistant = self._registry.assistant(request.name)
        is_default = assistant_id(name) == self._registry.default
        return messages.assistant_message(name, assistant.model, is_default=is_default)

    async def stream_generate(
        self, request: assistant_service_pb2.StreamGenerateRequest, caller: Caller
    ) -> AsyncGenerator[answer_pb2.AnswerChunk]:
        """Streams what an assistant says; see `AssistantService.StreamGenerate`."""
        del caller
        prefix = messages.prefix_of(request)
        asked, fallbacks = self._asked(request)
        name, assistant = self._registry.assistant(asked)
        if prefix is not None and (_must_abstain(request) or not assistant.model.continues_prefix):
            raise InvalidRequest("prefix", f"{name} cannot go on from what it has said")
        if _must_abstain(request):
            yield abstention(request, name)
            return
        if assistant.model.context_tokens is None and _is_long(request):
            await self._list.learn(_provider(name))
            name, assistant = self._registry.assistant(asked)
        exchange = Exchange(request, name, assistant, self._template)
        if prefix is not None:
            await exchange.go_on(prefix)
        choice = _Choice(request, exchange, self._registry, self._template, self._list)
        async with (
            first_to_speak(choice.attempts(fallbacks), policy=self._policy, health=self._health) as spoken,
            aclosing(spoken.events()) as events,
            aclosing(choice.of(spoken).chunks(events)) as chunks,
        ):
            is_unsigned = bool(fallbacks)  # the first text says whose it is, where it could be another's
            async for chunk in chunks:
                if is_unsigned and chunk.HasField("text"):
                    chunk.text.assistant = choice.of(spoken).assistant
                    is_unsigned = False
                yield chunk

    def _first_asked(self, config: AssistantConfig) -> Sequence[str]:
        """The providers to be connected to at the start: those that the settings name, the default's first.

        One of which the environment has a key, and nothing more, is not: nobody has said that it will be used.
        """
        names = [self._registry.default, *chain(*config.failover.fallbacks.values()), *config.providers]
        return list(dict.fromkeys(_provider(name) for name in names))[:_MOST_WARMED]

    def _asked(self, request: assistant_service_pb2.StreamGenerateRequest) -> tuple[str, Sequence[str]]:
        """Who is to answer a request, `provider/model`, and who may stand in.

        Texts of two assistants are never mixed: a part of an answer is gone on with by whoever said it, or by nobody.

        Raises:
            ServiceError: Nobody knows who said it, or it is none of those who could have (INVALID_FIELD); there is no
                such assistant (RESOURCE_NOT_FOUND).
        """
        wanted = assistant_id(self._registry.assistant(request.assistant)[0])
        fallbacks = self._policy.fallbacks.get(wanted, ())
        if not request.HasField("prefix"):
            return wanted, fallbacks
        said_by = assistant_id(request.prefix.assistant)
        if not said_by and fallbacks:
            raise InvalidRequest("prefix", f"another may have said it in place of {wanted}: nobody knows who can go on")
        if said_by and said_by not in {wanted, *fallbacks}:
            raise InvalidRequest("prefix.assistant", f"{said_by} is neither {wanted} nor one of its fallbacks")
        return said_by or wanted, ()


class _Choice:
    """The exchanges with the assistants that may answer a request, made when it is their turn."""

    def __init__(
        self,
        request: assistant_service_pb2.StreamGenerateRequest,
        wanted: Exchange,
        registry: ProviderRegistry,
        template: PromptTemplate,
        models: AssistantList,
    ) -> None:
        self._request = request
        self._registry = registry
        self._template = template
        self._models = models
        self._wanted = assistant_id(wanted.assistant)
        self._made = {self._wanted: wanted}

    def attempts(self, fallbacks: Sequence[str]) -> list[Attempt]:
        """The assistant that is wanted, then its fallbacks."""
        return [Attempt(name, partial(self._start, name)) for name in dict.fromkeys([self._wanted, *fallbacks])]

    def of(self, spoken: Spoken) -> Exchange:
        """The exchange with the one that answers."""
        return self._made[spoken.attempt.assistant]

    def _start(self, name: str) -> AsyncGenerator[Event]:
        return self._made[name].start() if name in self._made else self._fitted(name)

    async def _fitted(self, name: str) -> AsyncGenerator[Event]:
        """Asks an assistant for which the request has not been made yet, as it fits its context."""
        whole_name, assistant = self._registry.assistant(name)
        if assistant.model.context_tokens is None and _is_long(self._request):
            await self._models.learn(_provider(name))
            whole_name, assistant = self._registry.assistant(name)
        self._made[name] = Exchange(self._request, whole_name, assistant, self._template)
        async with aclosing(self._made[name].start()) as events:
            async for event in events:
                yield event


@asynccontextmanager
async def open_assistants(config: AssistantConfig | None = None) -> AsyncGenerator[AssistantCore]:
    """Opens the assistant service, and closes its connections at the end.

    Args:
        config: The settings; the defaults if not given.

    Raises:
        AssistantConfigError: A setting is not as it must be. Nothing was opened.
    """
    config = config or AssistantConfig()
    registry = ProviderRegistry(config)
    try:
        async with owned_tasks(cancel=True) as tasks:
            yield AssistantCore(registry, config, tasks=tasks)
    finally:
        await registry.aclose()


def _provider(name: str) -> str:
    return assistant_id(name).partition("/")[0]


def _is_long(request: assistant_service_pb2.StreamGenerateRequest) -> bool:
    """Whether a request may be more than a small context holds, so that its size is worth the wait to be told."""
    return request.ByteSize() > SMALL_CONTEXT * BYTES_A_TOKEN


def _must_abstain(request: assistant_service_pb2.StreamGenerateRequest) -> bool:
    never = request.abstain_policy == generation_pb2.ABSTAIN_POLICY_NEVER
    return request.grounded and not never and not any(source.content.strip() for source in request.sources)
