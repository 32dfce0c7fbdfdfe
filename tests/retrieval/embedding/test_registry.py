from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from headwater_server.errors import PreconditionFailed, Reason, ServiceError
from headwater_server.retrieval.embedding import (
    BUILTIN_EMBEDDER,
    Embedder,
    EmbedderConfigError,
    EmbedderUnavailable,
    EmbedderUnknown,
    EmbeddingConfig,
    MiniLmEmbedder,
    NamedEmbedder,
)
from headwater_server.retrieval.embedding.registry import Embedders
from tests.retrieval.embedding.embedding_server import DIMENSION, Refusal, embedding_server

pytestmark = pytest.mark.anyio

KEY = "sk-canary-31cc2209"


@asynccontextmanager
async def opened(config: EmbeddingConfig) -> AsyncGenerator[Embedders]:
    embedders = Embedders(config, make_builtin=MiniLmEmbedder)
    try:
        yield embedders
    finally:
        await embedders.aclose()


def config(environ: dict[str, str] | None = None, **tables: NamedEmbedder) -> EmbeddingConfig:
    return EmbeddingConfig(embedders=tables, environ=environ or {})


async def test_the_built_in_one_needs_nothing() -> None:
    async with opened(config()) as embedders:
        assert embedders.providers == []
        builtin = embedders.get("")
        assert (builtin.name, builtin.in_workers) == (BUILTIN_EMBEDDER, True)
        assert await builtin.dimension() == len(await builtin.embed_query("hello")) == 384
        assert (await builtin.embed_documents(["a", "b"])).shape == (2, 384)
        assert await builtin.fingerprint() == MiniLmEmbedder().fingerprint


@pytest.mark.parametrize(
    ("environ", "provider", "address", "has_key"),
    [
        ({"OPENAI_API_KEY": KEY}, "openai", "https://api.openai.com/v1", True),
        ({"OPENAI_BASE_URL": "http://here:1/v1/"}, "openai", "http://here:1/v1", False),
        ({"CO_API_KEY": KEY}, "cohere", "https://api.cohere.com", True),
        ({"CO_API_KEY": KEY, "CO_API_URL": "http://here:1/v2"}, "cohere", "http://here:1", True),
        ({"GEMINI_API_KEY": KEY}, "gemini", "https://generativelanguage.googleapis.com", True),
        ({"GEMINI_API_KEY": KEY, "GEMINI_BASE_URL": "http://here:1/v1beta"}, "gemini", "http://here:1", True),
        ({"OLLAMA_HOST": "here"}, "ollama", "http://here:11434", False),
        ({"OLLAMA_HOST": "0.0.0.0:8000"}, "ollama", "http://127.0.0.1:8000", False),
        ({"OLLAMA_HOST": "[::1]:8000"}, "ollama", "http://[::1]:8000", False),
        ({"OLLAMA_HOST": "https://here/"}, "ollama", "https://here", False),
    ],
)
async def test_providers_own_variables_make_them(
    environ: dict[str, str], provider: str, address: str, has_key: bool
) -> None:
    async with opened(config(environ)) as embedders:
        assert embedders.providers == [provider]
        assert embedders.address(provider) == address
        assert embedders.has_key(provider) is has_key
        assert embedders.get(f"{provider}/any/model").name == f"{provider}/any/model"


async def test_a_table_takes_the_place_of_what_the_environment_makes() -> None:
    table = NamedEmbedder(api="tei", base_url="http://here:1")
    async with opened(config({"OPENAI_API_KEY": KEY}, openai=table)) as embedders:
        assert embedders.address("openai") == "http://here:1"


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("openai/m", "set OPENAI_API_KEY or OPENAI_BASE_URL"),
        ("mine/m", "there are the providers builtin, here"),
        ("builtin/other", f"the built-in one is {BUILTIN_EMBEDDER}"),
        ("here/", "named `provider/model`"),
        ("here/ ", "named `provider/model`"),
        ("here/" + "m" * 256, "at most 256 bytes"),
        ("here/a\nb", "named `provider/model`"),
        ("here", "named `provider/model`"),
    ],
)
async def test_what_there_is_not_is_said_with_what_to_do(name: str, message: str) -> None:
    async with opened(config(here=NamedEmbedder(api="tei", base_url="http://here:1"))) as embedders:
        with pytest.raises(EmbedderUnknown, match=message):
            embedders.get(name)


@pytest.mark.parametrize("model", ["..", "../x", "x/..", "models/", "."])
async def test_a_name_that_would_lead_elsewhere_is_of_no_model(model: str) -> None:
    async with opened(config(here=NamedEmbedder(api="gemini", base_url="http://here:1"))) as embedders:
        with pytest.raises(EmbedderUnknown, match="its model's name cannot stand in a URL"):
            embedders.get(f"here/{model}")


@pytest.mark.parametrize(
    ("table", "message"),
    [
        (NamedEmbedder(api="word2vec"), "embedders.here.api: there is no 'word2vec'"),
        (NamedEmbedder(api="tei"), "embedders.here.base_url: must be set"),
        (NamedEmbedder(api="openai", base_url=f"http://me:{KEY}@here"), "user name or password"),
        (NamedEmbedder(api="openai", base_url="here:1"), "must begin with http"),
        (NamedEmbedder(api="openai", api_key=KEY, api_key_env="X"), "not both"),
        (NamedEmbedder(api="openai", api_key_env="NOT_SET"), "NOT_SET is not set"),
    ],
)
def test_settings_that_cannot_work_are_refused_at_the_start(table: NamedEmbedder, message: str) -> None:
    with pytest.raises(EmbedderConfigError, match=message) as refused:
        Embedders(config(here=table), make_builtin=MiniLmEmbedder)
    assert KEY not in str(refused.value)


def test_a_proxy_that_cannot_be_used_is_told_of_without_a_part_of_its_password(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTPS_PROXY", "http://svc:canary/9xQ@proxy.example:3128")
    with pytest.raises(EmbedderConfigError, match=r"embedders\.here: a proxy in .* cannot be used") as refused:
        Embedders(config(here=NamedEmbedder(api="openai")), make_builtin=MiniLmEmbedder)
    assert "canary" not in str(refused.value)


def test_an_address_that_is_none_is_refused_at_the_start() -> None:
    with pytest.raises(EmbedderConfigError, match=r"embedders\.here: base_url: not a URL"):
        Embedders(config(here=NamedEmbedder(api="tei", base_url="http://1.2.3.999")), make_builtin=MiniLmEmbedder)


def test_a_default_that_there_is_not_is_refused_at_the_start() -> None:
    with pytest.raises(EmbedderConfigError, match=r"retrieval\.embedder: this server has no embedder 'mine/m'"):
        Embedders(EmbeddingConfig(default="mine/m", environ={}), make_builtin=MiniLmEmbedder)


@pytest.mark.parametrize("name", ["dimension", "batch_texts", "batch_tokens", "concurrency", "timeout"])
def test_sizes_are_positive(name: str) -> None:
    sizes: dict[str, Any] = {name: 0}
    with pytest.raises(ValueError, match=name):
        NamedEmbedder(api="openai", **sizes)


@pytest.mark.parametrize(
    ("api", "path"),
    [
        ("openai", "/models"),
        ("ollama", "/api/tags"),
        ("tei", "/info"),
        ("cohere", "/v1/models"),
        ("gemini", "/v1beta/models"),
    ],
)
async def test_whether_a_provider_answers_can_be_asked(api: str, path: str) -> None:
    async with embedding_server() as server:
        table = NamedEmbedder(api=api, base_url=server.url, api_key=KEY)
        async with opened(config(there=table)) as embedders:
            await embedders.check("there")
            assert [request[0] for request in server.requests] == [path]
            server.always = Refusal(401)
            with pytest.raises(ServiceError) as raised:
                await embedders.check("there")
    assert raised.value.reason is Reason.PROVIDER_UNAUTHENTICATED


async def test_models_of_one_provider_are_different_embedders() -> None:
    async with (
        embedding_server() as server,
        opened(config(there=NamedEmbedder(api="openai", base_url=server.url))) as embedders,
    ):
        one, other = embedders.get("there/one"), embedders.get("there/other", dimension=DIMENSION)
        assert await one.fingerprint() != await other.fingerprint()
        assert await other.dimension() == DIMENSION
        assert server.requests == []
        assert await one.dimension() == DIMENSION
        assert len(server.requests) == 1


async def test_one_that_cannot_be_used_on_this_machine_says_so_to_every_caller() -> None:
    def missing() -> Embedder:
        raise EmbedderUnavailable("the model is not installed")

    embedders = Embedders(config(), make_builtin=missing)
    await embedders.builtin.preload()
    with pytest.raises(PreconditionFailed, match="not installed"):
        await embedders.get("").embed_query("hello")
