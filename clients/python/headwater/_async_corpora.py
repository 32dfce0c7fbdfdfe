"""Corpora, through an `AsyncClient`."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping

from headwater._async_transport import AsyncTransport
from headwater._checks import page, truth
from headwater._exceptions import AlreadyExists
from headwater._names import corpus_name
from headwater._updates import create_corpus_request, reembed_corpus_request, update_corpus_request
from headwater.v1 import document_pb2, retrieval_service_pb2


class AsyncCorpora:
    """The corpora of a server: `client.corpora`. Every method raises `CallError` if the call fails."""

    def __init__(self, transport: AsyncTransport) -> None:
        self._transport = transport

    async def create(
        self,
        corpus_id: str | None = None,
        *,
        display_name: str = "",
        labels: Mapping[str, str] | None = None,
        embedder: str = "",
        language: str = "",
        max_characters: int | None = None,
        overlap_characters: int | None = None,
        exist_ok: bool = False,
    ) -> document_pb2.Corpus:
        """Creates a corpus.

        Args:
            corpus_id: The last part of its name. None: the server makes one.
            display_name: A name for people.
            labels: Labels of your own.
            embedder: Makes its vectors, `provider/model`; changed by `reembed` alone. Empty: the server's default.
            language: Whose stems and stop words lexical search uses, such as `en`. Empty: detected in each passage.
            max_characters: How long a passage is at most, 50 to 4,096. None: as the server has it.
            overlap_characters: How much of a passage's end begins the next as well, at most half of that. None: as the
                server has it.
            exist_ok: Whether to return the corpus as it is if it is there already.

        Raises:
            AlreadyExists: The id is taken, and `exist_ok` is false.
        """
        request = create_corpus_request(
            corpus_id,
            display_name=display_name,
            labels=labels,
            embedder=embedder,
            language=language,
            max_characters=max_characters,
            overlap_characters=overlap_characters,
        )
        try:
            return await self._transport.unary(self._transport.retrieval.CreateCorpus, request)
        except AlreadyExists:
            if not exist_ok or corpus_id is None:
                raise
            return await self.get(corpus_id)

    async def get(self, corpus: str) -> document_pb2.Corpus:
        """Returns a corpus, by its name or bare id.

        Raises:
            NotFound: There is no such corpus.
        """
        request = retrieval_service_pb2.GetCorpusRequest(name=corpus_name(corpus))
        return await self._transport.unary(self._transport.retrieval.GetCorpus, request)

    async def list(self, *, page_size: int = 0) -> AsyncIterator[document_pb2.Corpus]:
        """Iterates over the corpora, by name, and fetches them a page at a time.

        Args:
            page_size: How many to fetch at once, up to 1,000. 0: as the server likes.
        """
        request = retrieval_service_pb2.ListCorporaRequest(page_size=page(page_size))
        while True:
            found = await self._transport.unary(self._transport.retrieval.ListCorpora, request)
            for corpus in found.corpora:
                yield corpus
            if not found.next_page_token:
                return
            request.page_token = found.next_page_token

    async def update(
        self,
        corpus: str,
        *,
        display_name: str | None = None,
        labels: Mapping[str, str] | None = None,
        language: str | None = None,
        max_characters: int | None = None,
        overlap_characters: int | None = None,
    ) -> document_pb2.Corpus:
        """Changes a corpus; what is None stays.

        Another language or length holds for documents that are imported afterwards, and for all after `reembed`.

        Args:
            corpus: Its name or bare id.
            display_name: A name for people.
            labels: Labels of your own, all of them.
            language: As for `create`; empty: detected in each passage.
            max_characters: As for `create`; this and `overlap_characters` are changed together, and one that is not
                given is as the server has it.
            overlap_characters: As for `create`.

        Raises:
            ArgumentError: There is nothing to change.
            NotFound: There is no such corpus.
        """
        request = update_corpus_request(
            corpus,
            display_name=display_name,
            labels=labels,
            language=language,
            max_characters=max_characters,
            overlap_characters=overlap_characters,
        )
        return await self._transport.unary(self._transport.retrieval.UpdateCorpus, request)

    async def reembed(self, corpus: str, *, embedder: str = "") -> document_pb2.Corpus:
        """Has the server read, split and embed all documents of a corpus anew, in the background.

        Until all of it is done the corpus is searched as it was; `reembedding` of `get` says how far it is, and is
        unset afterwards. Called again it goes on, or begins anew where the embedder or the corpus's settings differ.

        Args:
            corpus: Its name or bare id.
            embedder: Another embedder, `provider/model`. Empty: the one that it has.

        Raises:
            NotFound: There is no such corpus.
            InvalidArgument: The server has no such embedder.
        """
        request = reembed_corpus_request(corpus, embedder=embedder)
        return await self._transport.unary(self._transport.retrieval.ReembedCorpus, request)

    async def delete(self, corpus: str, *, force: bool = False) -> None:
        """Deletes a corpus.

        Args:
            corpus: Its name or bare id.
            force: Whether to delete its documents with it.

        Raises:
            FailedPrecondition: It has documents, and `force` is false.
            NotFound: There is no such corpus.
        """
        request = retrieval_service_pb2.DeleteCorpusRequest(name=corpus_name(corpus), force=truth("force", force))
        await self._transport.unary(self._transport.retrieval.DeleteCorpus, request)
