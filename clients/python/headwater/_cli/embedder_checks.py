"""What `headwater doctor` finds out about embedders."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import Any

from headwater._cli.findings import Finding
from headwater._cli.server_extra import server_module

_PROVIDER_SECONDS = 5.0


def embedder_findings(settings: Any) -> Iterator[Finding]:
    """What makes the vectors of new corpora, and whether the servers of embeddings that are set up answer."""
    embedding = server_module("retrieval.embedding")
    config = server_module("runtime.app").embedding_config(settings)
    try:
        embedders = server_module("retrieval.embedding.registry").Embedders(
            config, make_builtin=partial(embedding.MiniLmEmbedder, device=config.device)
        )
    except embedding.EmbedderConfigError as error:
        yield Finding("embedders", "problem", str(error), "correct it in the settings, or set what it names")
        return
    import anyio  # noqa: PLC0415  # comes with the server

    yield _built_in_embedder(config, embedding)
    problems = anyio.run(_unanswering, embedders)
    for provider in embedders.providers:
        key = "a key is set" if embedders.has_key(provider) else "no key"
        used = provider == embedders.default.partition("/")[0]
        subject, where = f"embedder {provider}", f"{embedders.address(provider)}, {key}"
        if provider not in problems:
            yield Finding(subject, "ok", f"{where}, answers")
        elif used or provider in config.embedders:
            advice = "until it answers, documents of its corpora wait, and questions to them fail"
            yield Finding(subject, "problem", f"{where}: {problems[provider]}", advice)
        else:
            yield Finding(subject, "note", f"{where}: {problems[provider]}")


def _built_in_embedder(config: Any, embedding: Any) -> Finding:
    default = f"new corpora have {config.default}"
    if config.device == "cpu":
        return Finding("embedder", "ok", default)
    try:
        embedding.MiniLmEmbedder(device=config.device)
    except embedding.EmbedderUnavailable as error:
        return Finding("embedder", "problem", str(error))
    device = server_module("retrieval.embedding.devices").resolved(config.device)
    return Finding("embedder", "ok", f"{default}; the built-in one runs on {device}")


async def _unanswering(embedders: Any) -> dict[str, str]:
    """Why providers do not answer, by their names; those that do are left out."""
    import anyio  # noqa: PLC0415  # comes with the server

    problems: dict[str, str] = {}

    async def ask(provider: str) -> None:
        try:
            with anyio.fail_after(_PROVIDER_SECONDS):
                await embedders.check(provider)
        except TimeoutError:
            problems[provider] = f"does not answer within {_PROVIDER_SECONDS:g} s"
        except server_module("errors").ServiceError as error:
            problems[provider] = error.message

    try:
        async with anyio.create_task_group() as tasks:
            for provider in embedders.providers:
                tasks.start_soon(ask, provider)
    finally:
        await embedders.aclose()
    return problems
