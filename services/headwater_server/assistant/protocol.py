"""What an assistant is: one stream of events, the same for a remote API and a model in this process.

A plugin needs this module and nothing else of Headwater: no protobuf, no gRPC, no provider's types. It names a
function in the entry-point group `headwater.assistants`; docs/writing-an-assistant.md has a complete example.

    entry point  ──▶  ProviderFactory(settings) ──▶  Provider  ──▶  Assistant  ──generate──▶  events, Finished last
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Protocol

ENTRY_POINT_GROUP = "headwater.assistants"


class Role(StrEnum):
    """Who said a message."""

    USER = "user"
    ASSISTANT = "assistant"


class FinishReason(StrEnum):
    """Why an assistant stopped, as far as an assistant can know it."""

    STOP = "stop"
    """It had said all it wanted to say, and its provider said so."""
    MAX_TOKENS = "max_tokens"
    """`max_output_tokens`, or the provider's own limit, was reached."""
    STOP_SEQUENCE = "stop_sequence"
    """One of `stop_sequences` came up."""
    CONTEXT_LIMIT = "context_limit"
    """The model's context was full."""
    CONTENT_FILTER = "content_filter"
    """The provider withheld the rest, or all, of the answer."""
    ABSTAINED = "abstained"
    """There was nothing to answer from; `Finished.abstain_reason` says why."""
    UPSTREAM_UNKNOWN = "upstream_unknown"
    """The provider ended in the way its protocol ends, but gave no reason, or one that is not known here."""


class AbstainReason(StrEnum):
    """Why an assistant abstained."""

    NO_SOURCES = "no_sources"
    """There was no source."""
    LOW_RELEVANCE = "low_relevance"
    """There were sources, but none is relevant enough."""
    ASSISTANT_DECLINED = "assistant_declined"
    """The model was asked and declined."""


class CitationStyle(StrEnum):
    """How an assistant says what its text rests on."""

    MARKERS = "markers"
    """By numbers in the text such as `[1]`, as the prompt asks for. Headwater reads them, takes them out of the text
    and makes citations of them."""
    NATIVE = "native"
    """By `Cite` events. The text goes through as it is; the prompt neither holds the sources nor asks for markers."""
    BOTH = "both"
    """By markers, and by `Cite` events for what the provider itself says. Their offsets count the text with its
    markers, as the model wrote it."""


@dataclass(frozen=True, slots=True)
class Message:
    """One message of a conversation."""

    role: Role
    text: str


@dataclass(frozen=True, slots=True)
class Source:
    """A piece of a document that an answer can rest on."""

    id: str
    """Its number within the answer, "1", "2", …"""
    text: str
    title: str = ""
    """The document's title. Empty if it has none."""
    uri: str = ""
    """Where the document is to be found, as its importer said. Possibly empty."""
    heading: str = ""
    """The headings under which the text stands, outermost first, joined by " › "."""
    location: str = ""
    """Where in the document it stands, in words, such as "pages 3 to 4". Empty if unknown."""
    document: str = ""
    """The document's name, which tells sources of one document from those of another. Possibly empty."""
    rank: int = 0
    """The place in the ranking, from 1. 0 if it was not ranked."""
    score: float | None = None
    """The store's score for the question, comparable within one request only."""
    cosine: float | None = None
    """The cosine similarity of question and text, −1 to 1. None where no embedding took part."""


@dataclass(frozen=True, slots=True)
class Sampling:
    """How to generate. What an assistant cannot do it refuses with `InvalidRequest`; it never drops a field."""

    max_output_tokens: int | None = None
    temperature: float | None = None
    top_p: float | None = None
    stop_sequences: Sequence[str] = ()
    seed: int | None = None
    provider_options: Mapping[str, object] = field(default_factory=dict)
    """Fields for the provider's own request: JSON's types only."""


@dataclass(frozen=True, slots=True)
class GenerateRequest:
    """One question to an assistant.

    `instructions` and `messages` are the prompt as Headwater's template renders it, sources included: a language model
    is sent these two. `question` and `sources` are what it was made of, for assistants that do without a prompt. For a
    model that cites natively the last message is the question without the sources, which its provider takes apart.
    """

    question: str
    """What is asked, as the caller wrote it."""
    instructions: str
    """The system prompt. It holds no text of a source."""
    messages: Sequence[Message]
    """The conversation, oldest first. The last one is the user's and holds sources and question."""
    sources: Sequence[Source] = ()
    """The sources in `messages`, best first. Ids are unique."""
    grounded: bool = False
    """Whether the answer must rest on `sources`."""
    sampling: Sampling = field(default_factory=Sampling)
    prefix: str = ""
    """What the assistant has said of this answer already, markers included, before a server or a connection failed. It
    goes on from there, word for word. Empty, as it always is where the model is not declared with `continues_prefix`:
    it starts."""


@dataclass(frozen=True, slots=True)
class Text:
    """Text to append to the answer; never empty."""

    text: str


@dataclass(frozen=True, slots=True)
class Reasoning:
    """A piece of the model's visible thinking; never part of the text; never empty."""

    text: str


@dataclass(frozen=True, slots=True)
class Evidence:
    """One source that a citation rests on."""

    source_id: str
    """The id of a source of the request. Evidence that names another is dropped."""
    quote: str = ""
    """The words of the source. A quote that is not in the source, white space and Unicode normalisation apart, is
    dropped and the evidence kept without it."""


@dataclass(frozen=True, slots=True)
class Cite:
    """A span of the text sent so far rests on sources.

    Offsets count the bytes of UTF-8 of all `Text` before, and of the request's prefix before that.
    """

    start_byte: int
    end_byte: int
    """The byte after the last; at most the length of the text so far."""
    evidence: Sequence[Evidence]


@dataclass(frozen=True, slots=True)
class Usage:
    """Tokens as the provider counts them, so that they are those of its bill. None: unknown."""

    input_tokens: int | None = None
    """Tokens read. Most providers count the cached ones in; Anthropic counts them apart."""
    output_tokens: int | None = None
    """Tokens written. Most providers count those of reasoning in; Gemini and xAI count them apart."""
    cached_input_tokens: int | None = None
    reasoning_tokens: int | None = None


@dataclass(frozen=True, slots=True)
class Finished:
    """The end, once and last."""

    reason: FinishReason
    usage: Usage | None = None
    """What the provider reported. None: Headwater estimates it and says so."""
    model_version: str = ""
    """What the provider calls the model that answered, such as a dated version."""
    abstain_reason: AbstainReason | None = None
    """Set if and only if the reason is ABSTAINED."""


Event = Text | Reasoning | Cite | Finished


@dataclass(frozen=True, slots=True)
class Model:
    """What is known of a model."""

    id: str
    """The provider's own id; it may contain slashes."""
    display_name: str = ""
    description: str = ""
    context_tokens: int | None = None
    """How many tokens its context holds. None: unknown, then nothing is trimmed to fit it."""
    max_output_tokens: int | None = None
    citations: CitationStyle = CitationStyle.MARKERS
    continues_prefix: bool = False
    """Whether it can go on from a part of its own answer, word for word: see `Assistant.generate`."""


class Assistant(Protocol):
    """A model that answers.

    One assistant serves any number of requests at once; `generate` keeps what belongs to a request in its own frame.
    """

    @property
    def model(self) -> Model:
        """What is known of the model. Never waits."""
        ...

    def generate(self, request: GenerateRequest) -> AsyncGenerator[Event]:
        """Answers, as a stream.

        Order: any number of `Text`, `Reasoning` and `Cite`, then one `Finished`, and nothing after it. A `Cite` comes
        after all the text that it covers. Pieces are passed on as they come; whoever reads slowly slows the provider
        down, so nothing is read ahead of the reader beyond a fixed amount.

        End: a stream that ends without `Finished` is a defect. `Finished` is sent only when the provider's own
        protocol has marked the end; a connection that just closes is `PROVIDER_TRUNCATED`.

        Cancellation: the reader closes the generator, or is cancelled while it waits for the next event. Either way the
        connection to the provider is closed before the generator ends, not when it is collected.

        Errors: an expected failure is a `headwater_server.errors.ServiceError` with one of the reasons `PROVIDER_…`,
        `CONTEXT_TOO_LARGE` or `INVALID_FIELD`, raised before the first event or between two. Its message goes to
        callers: no key, no URL. Any other exception is a defect and reaches them as INTERNAL, without its text. An
        assistant never tries again by itself after its first event.

        Going on: where the request has a `prefix`, the first `Text` is what follows it; nothing of it is sent again. A
        `Cite` of a span in the prefix may be: those that were sent before are dropped. A deterministic assistant makes
        the answer again, and raises `InvalidRequest` of the field `prefix` if it does not begin so; one whose model or
        API goes on from a part of an answer sends it that. One that can do neither does not declare
        `continues_prefix`, and an answer of it that was interrupted ends, with what there is of it.

        Time: it never blocks the event loop for more than a few milliseconds; work that computes goes to a thread.

        Args:
            request: The question.

        Yields:
            The events.
        """
        ...


class Provider(Protocol):
    """A source of assistants, such as one account at one API. All its methods may be called at the same time."""

    def assistant(self, model: str) -> Assistant:
        """The assistant of a model. Asks nobody: a model that the provider does not know shows when it generates.

        Raises:
            ResourceNotFound: The provider has a fixed set of models, and this is not one of them.
        """
        ...

    async def models(self) -> Sequence[Model]:
        """The models the provider can list. Possibly none. Headwater waits a few seconds at most and then cancels."""
        ...

    async def aclose(self) -> None:
        """Closes what the provider holds open. Called once, when no request runs any more."""
        ...


class WarmProvider(Provider, Protocol):
    """A provider that can be made ready for a request, beyond what every provider can."""

    async def warm(self) -> None:
        """Does what the next request would have to wait for, such as to open a connection; asks and sends nothing.

        Called at the start, and when a question has come that is to be asked in a moment. Cancelled when the server
        stops. What fails here fails again in the request, which says so; nothing is raised.
        """
        ...


@dataclass(frozen=True, slots=True)
class ProviderSettings:
    """What the settings say about one provider: the table `[assistants.NAME]`, or defaults where there is none."""

    name: str
    """The name it has in `NAME/model`, and in errors."""
    base_url: str = ""
    """Where the API is, without a trailing slash. Empty: the provider's own default."""
    api_key: str = field(default="", repr=False)
    """The key, already read from where the settings said. Empty: none."""
    models: Sequence[str] = ()
    """Models to list, beside those the provider lists itself."""
    context_tokens: int | None = None
    """The context of its models, for providers that do not say."""
    max_output_tokens: int | None = None
    """What its models write at most, for providers that do not say."""
    connect_timeout: float = 10.0
    """Seconds to wait for a connection."""
    read_timeout: float = 600.0
    """Seconds of silence after which a connection counts as dead. The limits of an answer are not kept here."""
    options: Mapping[str, object] = field(default_factory=dict, repr=False)
    """The remaining keys of the table. A factory refuses those it does not know with `ValueError`."""


class ProviderFactory(Protocol):
    """What an entry point names: a function, called once for each provider of the settings that uses it."""

    def __call__(self, settings: ProviderSettings) -> Provider:
        """Makes a provider. Opens no connection and does not wait; runs in the event loop.

        Raises:
            ValueError: A setting is not as it must be. The message names it, and holds no secret.
        """
        ...
