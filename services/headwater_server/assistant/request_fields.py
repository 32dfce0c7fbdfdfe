"""What every provider does with the settings of a request: map them, or refuse them by name."""

from __future__ import annotations

from collections.abc import Collection, Mapping

from headwater_server.assistant.protocol import Sampling
from headwater_server.errors import InvalidRequest

SAMPLING_FIELDS = ("max_output_tokens", "temperature", "top_p", "stop_sequences", "seed")
"""The settings of a request that every provider is asked for by its own names."""

_TOOLS = frozenset(
    {"functions", "function_call", "parallel_tool_calls", "tool_choice", "tool_config", "toolConfig", "tools"}
)


_ROUTING = frozenset(
    {
        "api_base",
        "api_key",
        "api_type",
        "api_version",
        "base_url",
        "callbacks",
        "client",
        "content_policy_fallbacks",
        "context_window_fallback_dict",
        "context_window_fallbacks",
        "credentials",
        "custom_llm_provider",
        "data_sources",
        "default_headers",
        "deployment_id",
        "extra_body",
        "extra_headers",
        "extra_query",
        "fallbacks",
        "failure_callback",
        "headers",
        "http_client",
        "input_callback",
        "max_retries",
        "mock_response",
        "model_list",
        "num_retries",
        "organization",
        "project",
        "proxy",
        "proxies",
        "request_timeout",
        "ssl_verify",
        "stream_timeout",
        "success_callback",
        "timeout",
        "user_config",
    }
)
"""Fields by which proxies such as LiteLLM's are told where to go, with which key and as whom, in the caller's words: so
that the operator's key could be sent anywhere."""
_ROUTING_PREFIXES = ("aws_", "azure_", "gcp_", "litellm_", "vertex_", "watsonx_")
_SAME = (
    frozenset(
        {
            "max_completion_tokens",
            "max_new_tokens",
            "max_output_tokens",
            "max_tokens",
            "max_tokens_to_sample",
            "maxoutputtokens",
            "n_predict",
            "num_predict",
        }
    ),
    frozenset({"temperature", "temp"}),
    frozenset({"top_p", "topp", "p"}),
    frozenset({"stop", "stop_sequences", "stopsequences", "stop_strings"}),
    frozenset({"seed", "random_seed", "sampling_seed"}),
)
"""Names that different servers, or the same, have for the same setting."""
_TAKEN = "is set by Headwater or by a field of its own; leave it out"


def with_options(
    document: dict[str, object], options: Mapping[str, object], *, reserved: Collection[str]
) -> dict[str, object]:
    """The document of a request with the caller's own fields in it.

    Args:
        document: The document; its fields are not the caller's to set.
        options: `provider_options`.
        reserved: Further fields that are not the caller's to set.

    Raises:
        InvalidRequest: One of the fields is not the caller's to set, or asks for tools.
    """
    taken = _with_other_names(document)
    for name in options:
        where = f"generation.provider_options.{name}"
        plain = name.lower().replace("-", "_")
        if name in _TOOLS:
            raise InvalidRequest(where, "tools are not supported")
        if plain in _ROUTING or plain.startswith(_ROUTING_PREFIXES):
            raise InvalidRequest(where, "says where a request goes, or as whom, which is the operator's to say")
        if name in reserved or name in document or plain in taken:
            raise InvalidRequest(where, _TAKEN)
    return {**document, **options}


def with_nested(
    settings: dict[str, object], options: object, *, field: str, reserved: Collection[str] = ()
) -> dict[str, object]:
    """The settings that an API keeps in a field of its own, with the caller's own ones in it.

    Args:
        settings: What is set; not the caller's to set again.
        options: `provider_options` of that field.
        field: The field's name, for errors.
        reserved: Further settings that are not the caller's.

    Raises:
        InvalidRequest: They are no object, or one of them is not the caller's to set.
    """
    where = f"generation.provider_options.{field}"
    if not isinstance(options, dict):
        raise InvalidRequest(where, "must be an object")
    taken = _with_other_names(settings)
    for name in options:
        if name in settings or name in reserved or name.lower() in taken:
            raise InvalidRequest(f"{where}.{name}", _TAKEN)
    return {**settings, **options}


def _with_other_names(document: Mapping[str, object]) -> set[str]:
    """The other names of what is set: two values of one setting contradict each other."""
    plain = {name.lower() for name in document}
    return {name for names in _SAME if not names.isdisjoint(plain) for name in names}


def present(fields: Mapping[str, object]) -> dict[str, object]:
    """The fields that are set."""
    return {name: value for name, value in fields.items() if value is not None}


def refuse_seed(seed: int | None, *, provider: str) -> None:
    """Refuses a seed where the provider has none.

    Raises:
        InvalidRequest: There is one.
    """
    if seed is not None:
        raise InvalidRequest("generation.seed", f"{provider} has no seed; leave it out")


def refuse_lacking(sampling: Sampling, lacks: Collection[str], *, provider: str) -> None:
    """Refuses settings that the provider's API has not, or is known to ignore.

    Args:
        sampling: The settings of a request.
        lacks: The names of those that are not there, of `SAMPLING_FIELDS`.
        provider: The provider's name.

    Raises:
        InvalidRequest: One of them is set.
    """
    for name in SAMPLING_FIELDS:
        if name in lacks and getattr(sampling, name) not in (None, (), []):
            raise InvalidRequest(f"generation.{name}", f"{provider} has no such setting; leave it out")


def refuse_above(value: float | None, most: float, *, field: str, provider: str) -> None:
    """Refuses a sampling setting that is over what the provider's API allows.

    Raises:
        InvalidRequest: It is.
    """
    if value is not None and value > most:
        raise InvalidRequest(f"generation.{field}", f"{provider} takes at most {most:g}")
