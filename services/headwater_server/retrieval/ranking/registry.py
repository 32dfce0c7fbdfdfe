"""The reranker that the settings name."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from anyio import CancelScope

from headwater_server.outgoing.endpoints import api_key_of, base_url_problem
from headwater_server.outgoing.http import HttpClient
from headwater_server.retrieval.ranking.apis import APIS
from headwater_server.retrieval.ranking.config import NamedReranker, RerankingConfig
from headwater_server.retrieval.ranking.cross_encoder import CrossEncoder
from headwater_server.retrieval.ranking.errors import RerankerConfigError
from headwater_server.retrieval.ranking.protocol import Reranker
from headwater_server.retrieval.ranking.remote import RemoteReranker

CROSS_ENCODER = "cross-encoder"


@dataclass(frozen=True, slots=True)
class Reranking:
    """A reranker with what the service allows it."""

    reranker: Reranker
    candidates: int
    """How many passages it is given."""
    timeout: float
    """Seconds that a search waits for it."""


@asynccontextmanager
async def open_reranking(config: RerankingConfig) -> AsyncGenerator[Reranking | None]:
    """Opens the reranker of the settings, and closes it when left; None where they name none.

    Nothing is loaded or connected to before it is first needed.

    Raises:
        RerankerConfigError: A setting is not as it must be.
    """
    for name, each in config.rerankers.items():
        _check(name, each)
    if not config.reranker:
        yield None
        return
    provider, _, model = config.reranker.partition("/")
    table = config.rerankers.get(provider)
    if table is None or not model.strip():
        there = ", ".join(f"{name}/…" for name in sorted(config.rerankers)) or "none: add a table [rerankers.NAME]"
        raise RerankerConfigError(f"retrieval.reranker: there is no {config.reranker!r}; there is {there}")
    reranker = _made(config, provider, model, table)
    try:
        yield Reranking(reranker, config.candidates, table.timeout)
    finally:
        with CancelScope(shield=True):
            await reranker.aclose()


def _made(config: RerankingConfig, provider: str, model: str, table: NamedReranker) -> CrossEncoder | RemoteReranker:
    if table.api == CROSS_ENCODER:
        if table.path is None:
            raise AssertionError("checked before")
        return CrossEncoder(config.reranker, table.path / model)
    api = APIS[table.api]
    url = (table.base_url or api.default_url).rstrip("/")
    url = next((url.removesuffix(version) for version in api.versions if url.endswith(version)), url)
    try:
        key = api_key_of(table.api_key, table.api_key_env, environ=config.environ)
        http = HttpClient(url, provider=provider, api_key=key, read_timeout=table.timeout)
    except ValueError as error:
        raise RerankerConfigError(f"rerankers.{provider}: {error}") from error
    return RemoteReranker(config.reranker, api, http, max_characters=table.max_characters)


def _check(name: str, table: NamedReranker) -> None:
    where = f"rerankers.{name}"
    if table.api == CROSS_ENCODER:
        if table.path is None:
            raise RerankerConfigError(f"{where}: path is missing: the folder that has a folder for each model")
        return
    if table.api not in APIS:
        known = ", ".join([*APIS, CROSS_ENCODER])
        raise RerankerConfigError(f"{where}: there is no api {table.api!r}; there are {known}")
    url = table.base_url or APIS[table.api].default_url
    if not url:
        raise RerankerConfigError(f"{where}: base_url is missing, and {table.api} is served by nobody in particular")
    if problem := base_url_problem(url):
        raise RerankerConfigError(f"{where}: base_url {problem}")
