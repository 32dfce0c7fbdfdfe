"""Assistants behind Perplexity's API.

https://docs.perplexity.ai/api-reference: OpenAI's chat completions from models that search the web and number what they
find. Those numbers would be taken for ours, so that nothing is searched where sources are presented.
"""

from __future__ import annotations

from dataclasses import replace

from headwater_server.assistant.openai_variant import Variant, VariantProvider
from headwater_server.assistant.protocol import GenerateRequest, Model, Provider, ProviderSettings
from headwater_server.assistant.request_fields import with_options


def provider(settings: ProviderSettings) -> Provider:
    """Makes a provider of assistants behind Perplexity: the entry point `perplexity`.

    Raises:
        ValueError: A setting is not as it must be.
    """
    return VariantProvider(_PERPLEXITY, settings)


def _without_search(model: Model, request: GenerateRequest) -> GenerateRequest:
    """The request, which searches nothing where there are sources.

    Raises:
        InvalidRequest: There are sources, and the caller says whether to search.
    """
    del model
    if not request.sources:
        return request
    sampling = request.sampling
    options = with_options({"disable_search": True}, sampling.provider_options, reserved=())
    return replace(request, sampling=replace(sampling, provider_options=options))


_PERPLEXITY = Variant(
    "https://api.perplexity.ai", lacks=("stop_sequences", "seed"), adapt=_without_search, has_list=False
)
