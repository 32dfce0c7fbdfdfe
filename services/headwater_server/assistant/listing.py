"""Which assistants there are."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import anyio
import structlog
from anyio.abc import TaskGroup

from headwater_server.assistant.config import AssistantConfig
from headwater_server.assistant.protocol import Model
from headwater_server.assistant.registry import BrokenProvider, ProviderRegistry
from headwater_server.errors import ServiceError
from headwater_server.names import assistant_name

log = structlog.get_logger("headwater.assistants")

_MAX_MODELS = 10_000


@dataclass
class _Learning:
    """A list that is asked for because of its contexts."""

    since: float
    is_again: bool = False
    """Whether there was one before it, so that nobody waits for it."""
    is_over: anyio.Event = field(default_factory=anyio.Event)
    is_worth_more: bool = True
    """Whether another list may say more: this one had contexts, or was not there."""


class AssistantList:
    """The models of all providers. What a provider lists is kept for a while, so that pages fit together."""

    def __init__(self, registry: ProviderRegistry, config: AssistantConfig, *, tasks: TaskGroup | None = None) -> None:
        """Makes it.

        Args:
            registry: The providers.
            config: The settings.
            tasks: What owns the lists that requests are not held up for. None: there are none.
        """
        self._registry = registry
        self._tasks = tasks
        self._learn_within = config.learn_within
        self._learning: dict[str, _Learning] = {}
        self._timeout = config.list_timeout
        self._max_age = config.list_max_age
        self._kept: dict[str, tuple[float, Mapping[str, Model]]] = {}
        self._asking: defaultdict[str, anyio.Lock] = defaultdict(anyio.Lock)

    async def all(self) -> list[tuple[str, Model]]:
        """All models with their names `assistants/provider/model`, by name.

        All providers are asked at the same time, and each for a few seconds at most. Of one that fails there are the
        models of its settings.
        """
        found: dict[str, Model] = {}

        async def ask(provider: str) -> None:
            for model in await self._models(provider):
                found[assistant_name(f"{provider}/{model.id}")] = model

        async with anyio.create_task_group() as tasks:
            for provider in self._registry.names:
                tasks.start_soon(ask, provider)
        return sorted(found.items(), key=lambda item: item[0])

    async def learn(self, provider: str) -> None:
        """Has a provider list its models, so that it knows how large their contexts are; waits a moment for it at most.

        The first list is waited for, as long as it is quick: a list that is slow, fails, or has no contexts holds up
        nobody. Later ones come behind the requests, and none where the last had nothing to say.

        Args:
            provider: Its name; one that does not exist is passed over.
        """
        if self._tasks is None or provider not in self._registry.names:
            return
        now, known = anyio.current_time(), self._learning.get(provider)
        if known is None:
            known = self._begin_to_learn(self._tasks, provider, _Learning(now))
        elif known.is_over.is_set() and known.is_worth_more and now - known.since >= self._max_age:
            known = self._begin_to_learn(self._tasks, provider, _Learning(now, is_again=True))
        if not known.is_again:
            with anyio.move_on_at(known.since + self._learn_within):
                await known.is_over.wait()

    def _begin_to_learn(self, tasks: TaskGroup, provider: str, learning: _Learning) -> _Learning:
        self._learning[provider] = learning
        tasks.start_soon(self._learn, provider, learning)
        return learning

    async def _learn(self, provider: str, learning: _Learning) -> None:
        models = await self._listed(provider)
        has_contexts = any(model.context_tokens for model in models.values())
        learning.is_worth_more = has_contexts or not models
        learning.is_over.set()

    async def _models(self, provider: str) -> Sequence[Model]:
        settings = self._registry.settings(provider)
        configured = [Model(id=model, context_tokens=settings.context_tokens) for model in settings.models]
        models = {model.id: model for model in configured}
        models |= await self._listed(provider)
        default_provider, _, default_model = self._registry.default.partition("/")
        if default_provider == provider and default_model not in models:
            models[default_model] = Model(id=default_model, context_tokens=settings.context_tokens)
        return list(models.values())

    async def _listed(self, provider: str) -> Mapping[str, Model]:
        async with self._asking[provider]:  # those who come meanwhile get the same list
            return await self._asked(provider)

    async def _asked(self, provider: str) -> Mapping[str, Model]:
        made, models = self._kept.get(provider, (float("-inf"), {}))
        if anyio.current_time() - made < self._max_age:
            return models
        models = {}
        try:
            with anyio.fail_after(self._timeout):
                listed = await self._registry.provider(provider).models()
                models = {model.id: model for model in listed[:_MAX_MODELS]}
        except BrokenProvider:
            pass  # the registry has said so
        except (ServiceError, TimeoutError) as error:
            log.warning("assistant_models_not_listed", provider=provider, problem=str(error) or "it took too long")
        except Exception:
            log.exception("assistant_models_not_listed", provider=provider)
        self._kept[provider] = (anyio.current_time(), models)
        return models
