"""Which embedder belongs to a corpus, and whether this server has it."""

from __future__ import annotations

from headwater_server import names
from headwater_server.errors import PreconditionFailed
from headwater_server.retrieval.catalog import CorpusSetup
from headwater_server.retrieval.embedding.errors import EmbedderUnknown
from headwater_server.retrieval.embedding.protocol import AsyncEmbedder
from headwater_server.retrieval.embedding.registry import Embedders
from headwater_server.retrieval.store.protocol import CorpusKey


class WrongEmbedder(PreconditionFailed):
    """This server has not the embedder that made a corpus's vectors, or has another under its name."""


async def embedder_of(embedders: Embedders, corpus: CorpusKey, setup: CorpusSetup) -> AsyncEmbedder:
    """The embedder that has made a corpus's vectors: no other may add to them, or be compared with them.

    Raises:
        WrongEmbedder: This server has it not, or has another under its name.
        PreconditionFailed: It cannot be used on this machine.
    """
    name, wanted = names.corpus_name(corpus.corpus_id), setup.embedder
    instead = "or make its vectors anew with another embedder by ReembedCorpus"
    try:
        embedder = embedders.get(wanted.name, dimension=wanted.dimension)
    except EmbedderUnknown as error:
        raise WrongEmbedder(f"{name} has the embedder {wanted.name}: {error}; {instead}") from error
    fingerprint = await embedder.fingerprint()
    if fingerprint != wanted.fingerprint:
        raise WrongEmbedder(
            f"{name} was made with {wanted.name} as {wanted.fingerprint}, and this server has it as {fingerprint},"
            f" whose vectors cannot be compared: set it as it was, {instead}"
        )
    return embedder
