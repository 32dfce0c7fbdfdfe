"""From a provider's settings to its client, and from its response to events, the same way for every provider."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Iterable, Mapping
from contextlib import aclosing
from typing import Protocol, TypeVar

from headwater_server.assistant.protocol import Event, Finished, FinishReason, ProviderSettings
from headwater_server.outgoing.framing import BodyParser
from headwater_server.outgoing.http import HttpClient
from headwater_server.outgoing.provider_errors import ContentWithheld

ItemT = TypeVar("ItemT")
ItemT_contra = TypeVar("ItemT_contra", contravariant=True)


class AnswerReader(Protocol[ItemT_contra]):
    """Makes events of the items of one answer's stream."""

    @property
    def done(self) -> bool:
        """Whether the protocol's own end has come. What follows it is not looked at."""
        ...

    def feed(self, item: ItemT_contra, /) -> Iterable[Event]:
        """Reads one item.

        Raises:
            ServiceError: It is an error, a tool call, or nothing that the protocol allows.
        """
        ...

    def finish(self) -> Iterable[Event]:
        """Ends the answer, when it is done or its body has ended: `Finished`, after what was held back.

        Raises:
            ServiceError: The stream was cut off (PROVIDER_TRUNCATED).
        """
        ...


def client_of(
    settings: ProviderSettings, base_url: str, *, key_header: str = "", headers: Mapping[str, str] | None = None
) -> HttpClient:
    """The client of a provider, which connects to nothing yet.

    Args:
        settings: The provider's settings.
        base_url: Where its API is, without a trailing slash.
        key_header: As `HttpClient` takes it.
        headers: As `HttpClient` takes them.
    """
    return HttpClient(
        base_url,
        provider=settings.name,
        api_key=settings.api_key,
        key_header=key_header,
        headers=headers,
        connect_timeout=settings.connect_timeout,
        read_timeout=settings.read_timeout,
    )


async def answered(
    http: HttpClient,
    path: str,
    document: Mapping[str, object],
    *,
    parser: BodyParser[ItemT],
    reader: AnswerReader[ItemT],
    accept: str = "text/event-stream",
) -> AsyncGenerator[Event]:
    """Asks a provider and streams its answer; see `Assistant.generate`.

    Args:
        http: The provider.
        path: Where, below its base URL.
        document: The request.
        parser: Takes the body apart.
        reader: Makes events of its items.
        accept: The media type that is wanted.

    Raises:
        ServiceError: As `HttpClient.post_stream` and the reader raise it. A prompt that the provider's filter refuses
            is none: it is an answer without text.
    """
    try:
        async with (
            http.post_stream(path, document, accept=accept) as stream,
            aclosing(stream.items(parser)) as items,
        ):
            async for item in items:
                for event in reader.feed(item):
                    yield event
                if reader.done:
                    await stream.finish()
                    break
        for event in reader.finish():
            yield event
    except ContentWithheld:
        yield Finished(FinishReason.CONTENT_FILTER)
