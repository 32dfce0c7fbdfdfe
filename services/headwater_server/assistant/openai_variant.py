"""Assistants behind an API that is OpenAI's chat completions but for what a request must not, or has to, say."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Sequence
from dataclasses import dataclass, replace

from headwater_server.assistant.openai_chat import ChatAssistant, ChatProvider
from headwater_server.assistant.protocol import Event, GenerateRequest, Model, ProviderSettings


@dataclass(frozen=True, slots=True)
class Variant:
    """How an API differs."""

    base_url: str
    """Where it is, unless the settings say otherwise."""
    lacks: tuple[str, ...]
    """What it does not take; see the option `lacks` of `openai`."""
    adapt: Callable[[Model, GenerateRequest], GenerateRequest]
    """Makes a request one of this API; raises `InvalidRequest` where that cannot be."""
    has_list: bool = True
    """Whether it lists its models; else `models` of the settings names them."""


class VariantAssistant:
    """One model."""

    def __init__(self, variant: Variant, chat: ChatAssistant) -> None:
        self.model = chat.model
        self._variant = variant
        self._chat = chat

    def generate(self, request: GenerateRequest) -> AsyncGenerator[Event]:
        """Answers; see `Assistant.generate`.

        Raises:
            InvalidRequest: The request cannot be one of this API.
        """
        return self._chat.generate(self._variant.adapt(self.model, request))


class VariantProvider:
    """One account, and the models it may use."""

    def __init__(self, variant: Variant, settings: ProviderSettings) -> None:
        """Makes the provider; connects to nothing yet.

        Raises:
            ValueError: A setting is not as it must be.
        """
        self._variant = variant
        base_url = settings.base_url or variant.base_url
        self._chats = ChatProvider(replace(settings, base_url=base_url), lacks=variant.lacks)

    def assistant(self, model: str) -> VariantAssistant:
        """The assistant of a model, whether there is one or not."""
        return VariantAssistant(self._variant, self._chats.assistant(model))

    async def models(self) -> Sequence[Model]:
        """The models that the account may use, where the API has a list; see `ChatProvider.models`."""
        return await self._chats.models() if self._variant.has_list else []

    async def warm(self) -> None:
        """Opens a connection for the next request; sends nothing."""
        await self._chats.warm()

    async def aclose(self) -> None:
        """Closes all connections."""
        await self._chats.aclose()
