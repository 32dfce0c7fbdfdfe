"""The assistant service's settings, as its core takes them."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from headwater_server.assistant.failover.policy import FailoverPolicy
from headwater_server.outgoing.endpoints import base_url_problem

DEFAULT_ASSISTANT = "builtin/extractive"


class AssistantConfigError(ValueError):
    """A setting of the assistant service is not as it must be. The message names it, and holds no secret."""


@dataclass(frozen=True, slots=True)
class NamedProvider:
    """One table `[assistants.NAME]` of the settings."""

    api: str
    """The name of the entry point that talks to it, such as `openai-chat`."""
    base_url: str = field(default="", repr=False)
    """Where the API is. Empty: the API's own default. Not shown, as people write passwords into URLs."""
    api_key: str = field(default="", repr=False)
    """The key itself. At most one of `api_key` and `api_key_env` is set."""
    api_key_env: str = ""
    """The environment variable that holds the key. Set and absent from the environment is an error."""
    models: Sequence[str] = ()
    """Models to list beside those the provider lists itself."""
    context_tokens: int | None = None
    """How many tokens the context of its models holds. None: unknown; then sources are never trimmed to fit."""
    max_output_tokens: int | None = None
    """How many tokens its models write at most. None: unknown."""
    options: Mapping[str, object] = field(default_factory=dict, repr=False)
    """Every other key of the table, for the API's own use, such as `think_tags`."""


@dataclass(frozen=True, slots=True)
class AssistantConfig:
    """The settings of the assistant service."""

    default_assistant: str = ""
    """`provider/model` of requests that name none. Empty: `builtin/extractive`."""
    providers: Mapping[str, NamedProvider] = field(default_factory=dict)
    """The tables `[assistants.NAME]`, by name. One of them may replace a provider that is there by itself."""
    prompt_template: Path | None = None
    """A template to use in place of the default one. None: the default."""
    connect_timeout: float = 10.0
    """Seconds to wait for a connection to a provider."""
    read_timeout: float = 600.0
    """Seconds of silence after which a connection to a provider counts as dead. An answer's own limits are shorter."""
    list_timeout: float = 3.0
    """Seconds to wait for a provider's list of models."""
    list_max_age: float = 60.0
    """Seconds for which a provider's list of models is kept."""
    learn_within: float = 0.25
    """Seconds for which a long request waits for a provider's first list, which may say how large its model's context
    is. Later lists come behind the requests."""
    failover: FailoverPolicy = field(default_factory=FailoverPolicy)
    """What is done where an assistant fails before it has said anything."""
    environ: Mapping[str, str] = field(default_factory=lambda: os.environ, repr=False)
    """The environment, in which providers' own variables such as `OPENAI_API_KEY` are looked up."""


def checked_base_url(url: str, *, setting: str) -> str:
    """A provider's base URL without its trailing slash.

    Raises:
        AssistantConfigError: It is not an http or https URL of a host and a path and nothing else. The message does not
            repeat it, as it may hold a password.
    """
    problem = base_url_problem(url)
    if problem:
        raise AssistantConfigError(f"{setting}: {problem}")
    return url.rstrip("/")
