"""Which embedders there are: the built-in one, those of the settings, and those that the environment makes."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from urllib.parse import urlsplit

import structlog
from anyio import CapacityLimiter

from headwater_server.errors import ServiceError
from headwater_server.outgoing.endpoints import api_key_of, base_url_problem
from headwater_server.outgoing.http import HttpClient
from headwater_server.retrieval.embedding.apis.cohere import CohereApi
from headwater_server.retrieval.embedding.apis.gemini import GeminiApi
from headwater_server.retrieval.embedding.apis.ollama import OllamaApi
from headwater_server.retrieval.embedding.apis.openai import OpenAiApi
from headwater_server.retrieval.embedding.apis.protocol import EmbeddingApi
from headwater_server.retrieval.embedding.apis.tei import TeiApi
from headwater_server.retrieval.embedding.config import (
    BUILTIN,
    BUILTIN_EMBEDDER,
    EmbeddingConfig,
    NamedEmbedder,
)
from headwater_server.retrieval.embedding.errors import EmbedderConfigError, EmbedderUnknown
from headwater_server.retrieval.embedding.local import LocalEmbedder
from headwater_server.retrieval.embedding.protocol import AsyncEmbedder, Embedder
from headwater_server.retrieval.embedding.remote import RemoteEmbedder, RemoteServer, shown_model

log = structlog.get_logger("headwater.retrieval")

_MAX_NAME_BYTES = 256
_CONNECT_SECONDS = 10.0

APIS: Mapping[str, EmbeddingApi] = {
    "openai": OpenAiApi(),
    "ollama": OllamaApi(),
    "tei": TeiApi(),
    "cohere": CohereApi(),
    "gemini": GeminiApi(),
}
"""What `api` of a table may say."""


@dataclass(frozen=True, slots=True)
class _Preset:
    """A provider that is there without a table of its own, as soon as one of its variables is set."""

    base_url_env: str
    api_key_env: str = ""


_PRESETS = {
    "openai": _Preset("OPENAI_BASE_URL", "OPENAI_API_KEY"),
    "cohere": _Preset("CO_API_URL", "CO_API_KEY"),
    "gemini": _Preset("GEMINI_BASE_URL", "GEMINI_API_KEY"),
    "ollama": _Preset("OLLAMA_HOST"),
}


class Embedders:
    """The embedders of one retrieval service. Connections are made when they are first needed.

    Args:
        config: The settings.
        make_builtin: Makes the built-in embedder.
        builtin_in_workers: Whether workers embed documents with it themselves.

    Raises:
        EmbedderConfigError: A setting is not as it must be.
    """

    def __init__(
        self, config: EmbeddingConfig, *, make_builtin: Callable[[], Embedder], builtin_in_workers: bool = True
    ) -> None:
        self._tables = {**_presets(config.environ), **config.embedders}
        self._servers = {name: _server(name, table, environ=config.environ) for name, table in self._tables.items()}
        self.builtin = LocalEmbedder(BUILTIN_EMBEDDER, make_builtin, in_workers=builtin_in_workers)
        self.default = config.default
        self._meant = {*config.embedders, config.default.partition("/")[0]}
        try:
            self.get(config.default)
        except EmbedderUnknown as error:
            raise EmbedderConfigError(f"retrieval.embedder: {error}") from error

    @property
    def providers(self) -> Sequence[str]:
        """The names of those behind a server, sorted."""
        return sorted(self._servers)

    def address(self, provider: str) -> str:
        """Where a provider is, without a secret."""
        return _base_url(self._tables[provider])

    def has_key(self, provider: str) -> bool:
        """Whether a provider has a key."""
        table = self._tables[provider]
        return bool(table.api_key or table.api_key_env)

    def get(self, name: str, *, dimension: int | None = None) -> AsyncEmbedder:
        """An embedder.

        Args:
            name: `provider/model`. Empty: the default.
            dimension: How many components its vectors must have, where that is known.

        Raises:
            EmbedderUnknown: There is no such provider, or it can have no such model.
        """
        name = name or self.default
        provider, _, model = name.partition("/")
        if name == BUILTIN_EMBEDDER:
            return self.builtin
        if provider == BUILTIN:
            raise EmbedderUnknown(f"there is no embedder {name!r}: the built-in one is {BUILTIN_EMBEDDER}")
        if not model.strip() or not name.isprintable() or len(name.encode()) > _MAX_NAME_BYTES:
            raise EmbedderUnknown("an embedder is named `provider/model`, in at most 256 bytes")
        if provider not in self._servers:
            raise EmbedderUnknown(f"this server has no embedder {name!r}: {self._hint(provider)}")
        try:
            self._servers[provider].api.path(model)
        except ValueError as error:
            raise EmbedderUnknown(f"there is no embedder {name!r}: its model's name {error}") from error
        return RemoteEmbedder(name, self._servers[provider], dimension=dimension)

    async def check(self, provider: str) -> None:
        """Asks a provider's server whether it is there.

        Raises:
            ServiceError: It cannot be reached, or refuses the key.
        """
        server = self._servers[provider]
        await server.http.get_json(server.api.traits.probe_path)

    async def report(self) -> None:
        """Says in the log which providers do not answer, of those that are meant to be used; for a server's start."""
        for provider in sorted(self._meant & set(self._servers)):
            try:
                await self.check(provider)
            except ServiceError as error:
                log.warning("embedder unavailable", provider=provider, reason=error.reason.value, error=error.message)

    async def aclose(self) -> None:
        """Closes all connections."""
        for server in self._servers.values():
            await server.http.aclose()

    def _hint(self, provider: str) -> str:
        preset = _PRESETS.get(provider)
        if preset:
            variables = " or ".join(filter(None, (preset.api_key_env, preset.base_url_env)))
            return f"set {variables} where the server runs"
        known = ", ".join((BUILTIN, *self.providers))
        return f"there are the providers {known}; others are tables [embedders.NAME] of its settings"


def _presets(environ: Mapping[str, str]) -> dict[str, NamedEmbedder]:
    found = {}
    for name, preset in _PRESETS.items():
        address, key = environ.get(preset.base_url_env, ""), environ.get(preset.api_key_env, "").strip()
        if address or key:
            address = _ollama_url(address) if name == "ollama" else address
            found[name] = NamedEmbedder(api=name, base_url=address, api_key=key)
    return found


def _ollama_url(host: str) -> str:
    """`OLLAMA_HOST` as a URL: it may be a host alone, or the address that Ollama itself listens on."""
    url = host if "://" in host else f"http://{host}"
    try:
        parts = urlsplit(url)
        port = parts.port or (11434 if "://" not in host else None)
    except ValueError:
        return url
    name = {"0.0.0.0": "127.0.0.1", "::": "::1", "": "127.0.0.1"}.get(parts.hostname or "", parts.hostname or "")  # noqa: S104 (never listened on)
    shown = f"[{name}]" if ":" in name else name
    return parts._replace(netloc=shown if port is None else f"{shown}:{port}").geturl()


def _server(name: str, table: NamedEmbedder, *, environ: Mapping[str, str]) -> RemoteServer:
    where = f"embedders.{name}"
    if table.api not in APIS:
        raise EmbedderConfigError(f"{where}.api: there is no {table.api!r}; there are {', '.join(sorted(APIS))}")
    if not name or "/" in name or name == BUILTIN:
        raise EmbedderConfigError(f"{where}: a provider's name is neither empty nor `{BUILTIN}`, and has no slash")
    api, base_url = APIS[table.api], _base_url(table)
    if not base_url:
        raise EmbedderConfigError(f"{where}.base_url: must be set, as {table.api} has no address of its own")
    if problem := base_url_problem(base_url):
        raise EmbedderConfigError(f"{where}.base_url: {problem}")
    try:
        http = HttpClient(
            base_url,
            provider=name,
            api_key=api_key_of(table.api_key, table.api_key_env, environ=environ),
            key_header=api.traits.key_header,
            connect_timeout=_CONNECT_SECONDS,
            read_timeout=table.timeout,
        )
    except ValueError as error:
        raise EmbedderConfigError(f"{where}: {error}") from error
    return RemoteServer(table, api, http, CapacityLimiter(table.concurrency))


def _base_url(table: NamedEmbedder) -> str:
    """Where a provider is, without the version that its API's paths begin with."""
    url = (table.base_url or APIS[table.api].traits.default_url).rstrip("/")
    versions = {"cohere": ("/v1", "/v2"), "gemini": ("/v1", "/v1beta"), "ollama": ("/api", "/v1")}.get(table.api, ())
    return next((url.removesuffix(version) for version in versions if url.endswith(version)), url)


def name_of(fingerprint: str, *, said: object = "") -> str:
    """The name of the embedder that has a fingerprint, so far as that tells.

    It tells the API and the model, and not what the settings call the provider. Where the name is wrong for that, a
    corpus under it is refused with the name, as with any embedder that a server has not.

    Args:
        fingerprint: An embedder's.
        said: A name, perhaps damaged, that is believed if it is of the same model.
    """
    api, _, rest = fingerprint.partition("/")
    if api not in APIS:
        return BUILTIN_EMBEDDER
    model = rest.rpartition("/")[0]
    if isinstance(said, str) and not said.startswith("/") and shown_model(said.partition("/")[2]) == model:
        return said
    return f"{api}/{model}"
