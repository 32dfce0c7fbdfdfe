"""Assistants behind DeepSeek's API.

https://api-docs.deepseek.com: OpenAI's chat completions without a seed, from models that think unless they are told not
to. While they think, temperature and top_p have no effect, and no error says so: they are refused here.
"""

from __future__ import annotations

from headwater_server.assistant.openai_variant import Variant, VariantProvider
from headwater_server.assistant.protocol import GenerateRequest, Model, Provider, ProviderSettings, Sampling
from headwater_server.assistant.wire_json import table
from headwater_server.errors import InvalidRequest

_NEVER_THINKS = "deepseek-chat"


def provider(settings: ProviderSettings) -> Provider:
    """Makes a provider of assistants behind DeepSeek: the entry point `deepseek`.

    Raises:
        ValueError: A setting is not as it must be.
    """
    return VariantProvider(_DEEPSEEK, settings)


def _without_idle_sampling(model: Model, request: GenerateRequest) -> GenerateRequest:
    """The request as it is.

    Raises:
        InvalidRequest: A sampling setting would have no effect.
    """
    sampling = request.sampling
    if model.id != _NEVER_THINKS and not _is_told_not_to_think(sampling):
        for field, value in (("temperature", sampling.temperature), ("top_p", sampling.top_p)):
            if value is not None:
                how = 'provider_options {"thinking": {"type": "disabled"}}'
                raise InvalidRequest(
                    f"generation.{field}", f"has no effect while DeepSeek thinks: leave it out, or set {how}"
                )
    return request


def _is_told_not_to_think(sampling: Sampling) -> bool:
    options = sampling.provider_options
    return table(options.get("thinking")).get("type") == "disabled" or options.get("reasoning_effort") == "none"


_DEEPSEEK = Variant("https://api.deepseek.com/v1", lacks=("seed",), adapt=_without_idle_sampling)
