"""Which providers there are: those of plugins, and those of the settings."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from importlib.metadata import EntryPoint, entry_points
from typing import cast

import structlog

from headwater_server.assistant.config import (
    DEFAULT_ASSISTANT,
    AssistantConfig,
    AssistantConfigError,
    NamedProvider,
    checked_base_url,
)
from headwater_server.assistant.presets import PRESETS, preset_tables, variables_of
from headwater_server.assistant.protocol import (
    ENTRY_POINT_GROUP,
    Assistant,
    Provider,
    ProviderFactory,
    ProviderSettings,
)
from headwater_server.errors import ResourceNotFound
from headwater_server.names import assistant_id, assistant_name
from headwater_server.outgoing.endpoints import api_key_of

log = structlog.get_logger("headwater.assistants")

HTTP_APIS = (
    "anthropic",
    "azure-openai",
    "cohere",
    "deepseek",
    "gemini",
    "mistral",
    "ollama",
    "openai-chat",
    "openai-responses",
    "perplexity",
)
"""Headwater's own APIs that are asked over HTTP, each a module of this package with its name. They mean nothing without
a key, or a table that says where they are."""

_MODULES = {"builtin": "extractive", "local": "local", **{api: api.replace("-", "_") for api in HTTP_APIS}}
_OWN = tuple(EntryPoint(api, f"{__package__}.{module}:provider", ENTRY_POINT_GROUP) for api, module in _MODULES.items())


class BrokenProvider(Exception):
    """A plugin cannot be used. The message names it and says why."""


class ProviderRegistry:
    """The providers, each made when it is first asked for and kept.

    A plugin that cannot be imported, or makes no provider, is broken by itself: whoever asks for it is told so, and the
    others go on.
    """

    def __init__(self, config: AssistantConfig, *, plugins: Iterable[EntryPoint] | None = None) -> None:
        """Reads the settings; imports no plugin yet.

        Args:
            config: The settings.
            plugins: Entry points in place of the installed ones.

        Raises:
            AssistantConfigError: A setting is not as it must be.
        """
        self._config = config
        self._plugins = _by_name(entry_points(group=ENTRY_POINT_GROUP) if plugins is None else plugins)
        self._settings = {name: self._provider_settings(name, table) for name, table in self._tables().items()}
        self._providers: dict[str, Provider] = {}
        self._broken: dict[str, str] = {}
        self.default = assistant_id(config.default_assistant) or DEFAULT_ASSISTANT
        self._check()

    @property
    def names(self) -> Sequence[str]:
        """The names of all providers, sorted, broken ones included."""
        return sorted(self._settings)

    def settings(self, name: str) -> ProviderSettings:
        """The settings of a provider."""
        return self._settings[name][1]

    def provider(self, name: str) -> Provider:
        """A provider.

        Raises:
            KeyError: There is none of this name.
            BrokenProvider: Its plugin cannot be used.
        """
        if name in self._broken:
            raise BrokenProvider(self._broken[name])
        if name not in self._providers:
            api, settings = self._settings[name]
            try:
                self._providers[name] = _made(self._plugins[api], settings)
            except BrokenProvider as error:
                self._broken[name] = str(error)
                log.warning("assistant_provider_broken", provider=name, problem=str(error))
                raise
        return self._providers[name]

    def assistant(self, name: str) -> tuple[str, Assistant]:
        """The assistant of a name.

        Args:
            name: `provider/model`, with or without `assistants/` before it. Empty: the default.

        Returns:
            Its whole name `assistants/provider/model`, and the assistant.

        Raises:
            ResourceNotFound: There is no such provider, or it has no such model.
        """
        wanted = assistant_id(name) or self.default
        resource = assistant_name(wanted)
        provider, _, model = wanted.partition("/")
        if provider not in self._settings or not model:
            raise ResourceNotFound(resource, f"{resource} does not exist: {self._hint(provider)}")
        try:
            return resource, self.provider(provider).assistant(model)
        except BrokenProvider as error:
            raise ResourceNotFound(resource, f"{resource} cannot be used: {error}") from error

    async def aclose(self) -> None:
        """Closes all providers, whatever goes wrong with one of them."""
        while self._providers:
            name, provider = self._providers.popitem()
            try:
                await provider.aclose()
            except Exception:
                log.exception("assistant_provider_close_failed", provider=name)

    def _hint(self, provider: str) -> str:
        if provider in PRESETS:
            base_url, api_key = variables_of(provider)
            return f"set {api_key}, or {base_url}, where the server runs"
        return f"there are the providers {', '.join(self.names)}"

    def _tables(self) -> dict[str, NamedProvider]:
        """Tables of the settings, of what is set in the environment, and of the plugins that need no settings."""
        plugins = {name: NamedProvider(api=name) for name in self._plugins if name not in HTTP_APIS}
        return {**plugins, **preset_tables(self._config.environ), **self._config.providers}

    def _provider_settings(self, name: str, table: NamedProvider) -> tuple[str, ProviderSettings]:
        where = f"assistants.{name}"
        if not name or "/" in name:
            raise AssistantConfigError(f"{where}: a provider's name is neither empty nor has a slash")
        if table.api not in self._plugins:
            known = ", ".join(sorted(self._plugins))
            raise AssistantConfigError(f"{where}.api: there is no {table.api!r}; there are {known}")
        base_url = checked_base_url(table.base_url, setting=f"{where}.base_url") if table.base_url else ""
        return table.api, ProviderSettings(
            name=name,
            base_url=base_url,
            api_key=_api_key(table, where=where, environ=self._config.environ),
            models=tuple(table.models),
            context_tokens=table.context_tokens,
            max_output_tokens=table.max_output_tokens,
            connect_timeout=self._config.connect_timeout,
            read_timeout=self._config.read_timeout,
            options=dict(table.options),
        )

    def _check(self) -> None:
        """Finds what is wrong with the settings at the start and not at the first question."""
        for name in self._config.providers:
            try:
                self.provider(name)
            except BrokenProvider as error:
                raise AssistantConfigError(f"assistants.{name}: {error}") from error
        try:
            self.assistant("")
        except ResourceNotFound as error:
            raise AssistantConfigError(f"default assistant: {error.message}") from error


def _by_name(plugins: Iterable[EntryPoint]) -> dict[str, EntryPoint]:
    """Entry points by name. Nobody takes the place of Headwater's own; of two others with one name the first counts."""
    found = {plugin.name: plugin for plugin in _OWN}
    for plugin in plugins:
        first = found.setdefault(plugin.name, plugin)
        if first.value != plugin.value:
            log.warning("assistant_plugin_ignored", plugin=plugin.name, ignored=plugin.value, used=first.value)
    return found


def _made(plugin: EntryPoint, settings: ProviderSettings) -> Provider:
    try:
        factory = cast("ProviderFactory", plugin.load())
        return factory(settings)
    except ValueError as error:
        raise BrokenProvider(str(error)) from error
    except Exception as error:  # whatever a module does when it is imported
        origin = f" of {plugin.dist.name} {plugin.dist.version}" if plugin.dist else ""
        problem = f"the plugin {plugin.name!r} ({plugin.value}{origin}) cannot be loaded: {type(error).__name__}"
        raise BrokenProvider(problem + _said(plugin, error)) from error


def _said(plugin: EntryPoint, error: Exception) -> str:
    """An exception's own words, which callers read: those of another's plugin, and of what cannot be imported.

    What our own providers know to be wrong is a `ValueError`. Anything else that happens in them is a library's, whose
    words may repeat a part of a key, or of a proxy's password.
    """
    return "" if plugin in _OWN and not isinstance(error, ImportError) else f": {error}"


def _api_key(table: NamedProvider, *, where: str, environ: Mapping[str, str]) -> str:
    try:
        return api_key_of(table.api_key, table.api_key_env, environ=environ)
    except ValueError as error:
        raise AssistantConfigError(f"{where}: {error}") from error
