"""Assistants behind Mistral's API.

https://docs.mistral.ai/api: OpenAI's chat completions with another name for the seed, no `stream_options`, content that
may be a list of parts where a model thinks, and a way to go on from a part of an answer.
"""

from __future__ import annotations

from dataclasses import replace

from headwater_server.assistant.openai_chat import ChatProvider
from headwater_server.assistant.protocol import Provider, ProviderSettings
from headwater_server.outgoing.endpoints import with_version

MISTRAL_URL = "https://api.mistral.ai"
_OPTIONS = {"continues": "mistral", "include_usage": False, "seed_field": "random_seed"}


def provider(settings: ProviderSettings) -> Provider:
    """Makes a provider of assistants behind Mistral: the entry point `mistral`.

    Raises:
        ValueError: A setting is not as it must be.
    """
    base_url = with_version(settings.base_url or MISTRAL_URL, "v1")
    return ChatProvider(replace(settings, base_url=base_url, options={**_OPTIONS, **settings.options}))
