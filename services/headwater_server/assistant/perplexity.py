"""Assistants behind Perplexity's API.

https://docs.perplexity.ai/api-reference: OpenAI's chat completions from models that search the web and number what they
find. Those numbers would be taken for ours, so that nothing is searched where sources are presented.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from dataclasses import replace

from headwater_server.assistant.openai_chat import ChatAssistant, ChatProvider
from headwater_server.assistant.protocol import Event, GenerateRequest, Model, Provider, ProviderSettings
from headwater_server.assistant.request_fields import with_options

PERPLEXITY_URL = "https://api.perplexity.ai"
_OPTIONS = {"lacks": ["stop_sequences", "seed"]}


class PerplexityAssistant:
    """One model."""

    def __init__(self, chat: ChatAssistant) -> None:
        self.model = chat.model
        self._chat = chat

    def generate(self, request: GenerateRequest) -> AsyncGenerator[Event]:
        """Answers; see `Assistant.generate`.

        Raises:
            InvalidRequest: There are sources, and the caller says whether to search.
        """
        if request.sources:
            sampling = request.sampling
            options = with_options({"disable_search": True}, sampling.provider_options, reserved=())
            request = replace(request, sampling=replace(sampling, provider_options=options))
        return self._chat.generate(request)


class PerplexityProvider:
    """One account."""

    def __init__(self, settings: ProviderSettings) -> None:
        """Makes the provider; connects to nothing yet.

        Raises:
            ValueError: A setting is not as it must be.
        """
        base_url = settings.base_url or PERPLEXITY_URL
        self._chats = ChatProvider(replace(settings, base_url=base_url, options={**_OPTIONS, **settings.options}))

    def assistant(self, model: str) -> PerplexityAssistant:
        """The assistant of a model, whether there is one or not."""
        return PerplexityAssistant(self._chats.assistant(model))

    async def models(self) -> Sequence[Model]:
        """None: the API has no list; `models` of the settings names them."""
        return []

    async def warm(self) -> None:
        """Opens a connection for the next request; sends nothing."""
        await self._chats.warm()

    async def aclose(self) -> None:
        """Closes all connections."""
        await self._chats.aclose()


def provider(settings: ProviderSettings) -> Provider:
    """Makes a provider of assistants behind Perplexity: the entry point `perplexity`.

    Raises:
        ValueError: A setting is not as it must be.
    """
    return PerplexityProvider(settings)
