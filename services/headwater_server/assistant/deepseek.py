"""Assistants behind DeepSeek's API.

https://api-docs.deepseek.com: OpenAI's chat completions without a seed, from models that think unless they are told not
to. While they think, temperature and top_p have no effect, and no error says so: they are refused here.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from dataclasses import replace

from headwater_server.assistant.openai_chat import ChatAssistant, ChatProvider
from headwater_server.assistant.protocol import Event, GenerateRequest, Model, Provider, ProviderSettings, Sampling
from headwater_server.assistant.wire_json import table
from headwater_server.errors import InvalidRequest

DEEPSEEK_URL = "https://api.deepseek.com/v1"
_OPTIONS = {"lacks": ["seed"]}
_NEVER_THINKS = "deepseek-chat"


class DeepSeekAssistant:
    """One model."""

    def __init__(self, chat: ChatAssistant) -> None:
        self.model = chat.model
        self._chat = chat

    def generate(self, request: GenerateRequest) -> AsyncGenerator[Event]:
        """Answers; see `Assistant.generate`.

        Raises:
            InvalidRequest: A sampling setting would have no effect.
        """
        sampling = request.sampling
        if self.model.id != _NEVER_THINKS and not _is_told_not_to_think(sampling):
            for field, value in (("temperature", sampling.temperature), ("top_p", sampling.top_p)):
                if value is not None:
                    how = 'provider_options {"thinking": {"type": "disabled"}}'
                    raise InvalidRequest(
                        f"generation.{field}", f"has no effect while DeepSeek thinks: leave it out, or set {how}"
                    )
        return self._chat.generate(request)


class DeepSeekProvider:
    """One account, and the models it may use."""

    def __init__(self, settings: ProviderSettings) -> None:
        """Makes the provider; connects to nothing yet.

        Raises:
            ValueError: A setting is not as it must be.
        """
        base_url = settings.base_url or DEEPSEEK_URL
        self._chats = ChatProvider(replace(settings, base_url=base_url, options={**_OPTIONS, **settings.options}))

    def assistant(self, model: str) -> DeepSeekAssistant:
        """The assistant of a model, whether there is one or not."""
        return DeepSeekAssistant(self._chats.assistant(model))

    async def models(self) -> Sequence[Model]:
        """The models that the account may use; see `ChatProvider.models`."""
        return await self._chats.models()

    async def warm(self) -> None:
        """Opens a connection for the next request; sends nothing."""
        await self._chats.warm()

    async def aclose(self) -> None:
        """Closes all connections."""
        await self._chats.aclose()


def provider(settings: ProviderSettings) -> Provider:
    """Makes a provider of assistants behind DeepSeek: the entry point `deepseek`.

    Raises:
        ValueError: A setting is not as it must be.
    """
    return DeepSeekProvider(settings)


def _is_told_not_to_think(sampling: Sampling) -> bool:
    options = sampling.provider_options
    return table(options.get("thinking")).get("type") == "disabled" or options.get("reasoning_effort") == "none"
