"""What a provider's failures become. Nothing here repeats a URL, a header or a key."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

from headwater_server.errors import Reason, ServiceError
from headwater_server.text import shortened, without_surrogates

MAX_MESSAGE = 300
_MAX_RETRY_AFTER = 3600.0
_KEY_LIKE = re.compile(r"\b(?:sk|pk|rk|gsk|xai|key|api|bearer|token)[-_ ][\w*.\-]{8,}", re.IGNORECASE)
_URL = re.compile(r"\bhttps?://\S+", re.IGNORECASE)
_CONTEXT_CODES = frozenset({"context_length_exceeded", "exceed_context_size_error", "context_window_exceeded"})
_CONTEXT_WORDS = re.compile(
    r"maximum context length|context (?:size|window|length) (?:is |has been )?exceed"
    r"|exceeds? the (?:available )?context"
    r"|exceed context limit|maximum prompt length|longer than the model's context length"
    r"|max_new_tokens. must be <=|prompt is too long|input token count.{0,40} exceeds|too many tokens",
    re.IGNORECASE,
)
_FILTER_CODES = frozenset({"content_filter", "content_policy_violation", "ResponsibleAIPolicyViolation"})
_LIMIT_WORDS = frozenset(
    {"rate_limit_exceeded", "rate_limit_error", "insufficient_quota", "too_many_requests", "RESOURCE_EXHAUSTED"}
)
_KEY_WORDS = frozenset(
    {"invalid_api_key", "authentication_error", "permission_error", "permission_denied", "API_KEY_INVALID"}
)
_REQUEST_WORDS = frozenset(
    {
        "BadRequestError",
        "billing_error",
        "empty_image_file",
        "image_content_policy_violation",
        "image_file_not_found",
        "image_file_too_large",
        "image_parse_error",
        "image_too_large",
        "image_too_small",
        "invalid_base64_image",
        "invalid_image",
        "invalid_image_format",
        "invalid_image_mode",
        "invalid_image_url",
        "invalid_prompt",
        "invalid_request",
        "invalid_request_error",
        "model_not_found",
        "not_found_error",
        "request_too_large",
        "unsupported_image_media_type",
    }
)


@dataclass(frozen=True, slots=True)
class ErrorBody:
    """What a provider says about an error: `{"error": {…}}`, `{"error": "…"}` or `{"message": …}`."""

    message: str = ""
    code: str = ""
    type: str = ""
    status: int | None = None
    """An HTTP status inside the body, as some providers send it in a stream."""
    retry_after: float | None = None
    """Seconds after which to try again, as Google says it (`google.rpc.RetryInfo`)."""

    @classmethod
    def parse(cls, body: bytes) -> ErrorBody:
        """Reads a body. One that is not JSON, such as a proxy's page, says nothing."""
        return cls.of(_document(body))

    @classmethod
    def plain(cls, body: bytes) -> ErrorBody:
        """Reads what stands where an error is told: JSON, or words."""
        document = _document(body)
        return cls(message=body.decode(errors="replace")) if document is None else cls.of(document)

    @classmethod
    def told_in(cls, body: bytes) -> ErrorBody | None:
        """Reads a document that stands in place of an answer; None if it tells of no error."""
        document = _document(body)
        if isinstance(document, list) and document:
            document = document[0]
        if not isinstance(document, dict):
            return None
        told = cls.of(document)
        says_so = document.get("error") or "error" in {document.get("type"), document.get("object")}
        return told if says_so or told.status else None

    @classmethod
    def of(cls, document: object) -> ErrorBody:
        """Reads a JSON document."""
        if isinstance(document, list) and document:
            document = document[0]
        error = document.get("error", document) if isinstance(document, dict) else document
        if isinstance(error, str):
            return cls(message=error)
        if not isinstance(error, dict):
            return cls()
        code = error.get("code")
        message = error.get("message", error.get("detail"))
        return cls(
            message=message if isinstance(message, str) else "",
            code=code if isinstance(code, str) else _google_reason(error),
            type=error["type"] if isinstance(error.get("type"), str) else "",
            status=_status(code) or _status(error.get("status_code")) or _status(error.get("status")),
            retry_after=_google_delay(error),
        )

    @property
    def withheld(self) -> bool:
        """Whether the provider's content filter refused the prompt."""
        return not _FILTER_CODES.isdisjoint({self.code, self.type})

    @property
    def too_large(self) -> bool:
        """Whether the prompt does not fit the model's context."""
        return not _CONTEXT_CODES.isdisjoint({self.code, self.type}) or _CONTEXT_WORDS.search(self.message) is not None


class ContentWithheld(ServiceError):
    """The provider's content filter refused the prompt; for an assistant, an answer without text."""


class ProviderErrors:
    """Makes the errors of one provider."""

    def __init__(self, provider: str, *, secret: str = "") -> None:
        self._provider = provider
        self._secret = secret

    def unreachable(self, what: str) -> ServiceError:
        """No response came: the connection was refused, the name is unknown, a certificate is wrong."""
        return self._error(Reason.PROVIDER_UNAVAILABLE, f"{self._provider} cannot be reached ({what})")

    def truncated(self, what: str = "") -> ServiceError:
        """The stream stopped without its protocol's own end."""
        detail = f" ({what})" if what else ""
        return self._error(
            Reason.PROVIDER_TRUNCATED,
            f"{self._provider} stopped before the end of the answer{detail}; the text so far may be incomplete",
        )

    def protocol(self, what: str) -> ServiceError:
        """The provider sent what its protocol does not allow."""
        return self._error(Reason.PROVIDER_PROTOCOL, f"{self._provider} sent {what}")

    def tool_called(self) -> ServiceError:
        """The model wants to call a tool, though it was offered none."""
        return self.protocol("a call of a tool, though it was offered none: tools are not supported")

    def unavailable(self, what: str) -> ServiceError:
        """The provider failed by itself."""
        return self._error(Reason.PROVIDER_UNAVAILABLE, f"{self._provider} failed: {self.cleaned(what)}")

    def status(self, status: int, body: ErrorBody, *, headers: Mapping[str, str] | None = None) -> ServiceError:
        """The provider answered with an HTTP status that is not 200."""
        known = {"http_status": str(status)}
        retry_after = _retry_after(headers or {}, body)
        if status == 429:
            return self._rate_limited(body, known, retry_after)
        if status in {401, 403} or (status == 400 and not _KEY_WORDS.isdisjoint({body.code, body.type})):
            return self._unauthenticated(known)
        if status >= 500 or status == 408:
            return self._error(
                Reason.PROVIDER_UNAVAILABLE,
                f"{self._provider} answered with HTTP status {status}{self._said(body)}",
                known,
                retry_after=retry_after,
            )
        if status < 400:
            what = (
                "a redirect, which is not followed: set its base_url to where it leads"
                if status >= 300
                else "no stream"
            )
            return self._error(Reason.PROVIDER_PROTOCOL, f"{self._provider} answered HTTP {status}: {what}", known)
        return self._rejected(body, known)

    def in_stream(self, body: ErrorBody) -> ServiceError:
        """The provider sent an error inside a stream that had begun well."""
        words = {body.code, body.type}
        known = {"http_status": str(body.status)} if body.status else {}
        if body.status == 429 or not _LIMIT_WORDS.isdisjoint(words):
            return self._rate_limited(body, known, body.retry_after)
        if body.status in {401, 403} or not _KEY_WORDS.isdisjoint(words):
            return self._unauthenticated(known)
        if body.too_large or body.withheld or not _REQUEST_WORDS.isdisjoint(words) or _is_client_error(body.status):
            return self._rejected(body, known)
        return self._error(
            Reason.PROVIDER_UNAVAILABLE,
            f"{self._provider} reported an error in its stream{self._said(body)}",
            known,
            retry_after=body.retry_after,
        )

    def cleaned(self, message: str) -> str:
        """A provider's own words, shortened, on one line, and without what looks like a key or a URL."""
        if self._secret:
            message = message.replace(self._secret, "***")
        message = _URL.sub("(URL)", _KEY_LIKE.sub("***", message[: MAX_MESSAGE * 8]))
        return shortened(without_surrogates(message), MAX_MESSAGE)

    def _rate_limited(self, body: ErrorBody, known: Mapping[str, str], retry_after: float | None) -> ServiceError:
        message = f"{self._provider} refused because of its limits{self._said(body)}"
        return self._error(Reason.PROVIDER_RATE_LIMITED, message, known, retry_after=retry_after)

    def _unauthenticated(self, known: Mapping[str, str]) -> ServiceError:
        # Its words are left out: providers repeat parts of the key in them.
        message = f"{self._provider} refused the server's key: set another one in the server's settings"
        return self._error(Reason.PROVIDER_UNAUTHENTICATED, message, known)

    def _rejected(self, body: ErrorBody, known: Mapping[str, str]) -> ServiceError:
        said = self.cleaned(body.message)
        known = {**known, **({"provider_message": said} if said else {})}
        if body.too_large:
            message = f"the prompt with its sources does not fit the context of the model at {self._provider}"
            return self._error(Reason.CONTEXT_TOO_LARGE, message + self._said(body), known)
        message = f"{self._provider} refused the request{self._said(body)}"
        if body.withheld:
            return ContentWithheld(Reason.PROVIDER_REJECTED, message, metadata={"provider": self._provider, **known})
        return self._error(Reason.PROVIDER_REJECTED, message, known)

    def _said(self, body: ErrorBody) -> str:
        said = self.cleaned(body.message)
        return f": {said}" if said else ""

    def _error(
        self, reason: Reason, message: str, known: Mapping[str, str] | None = None, *, retry_after: float | None = None
    ) -> ServiceError:
        metadata = {"provider": self._provider, **(known or {})}
        return ServiceError(reason, message, metadata=metadata, retry_after=retry_after)


def _document(body: bytes) -> object:
    """The JSON of a body; None if it is none."""
    try:
        return json.loads(body)
    except (ValueError, RecursionError):
        return None


def _google_details(error: Mapping[str, object]) -> Iterator[Mapping[str, object]]:
    details = error.get("details")
    yield from (detail for detail in (details if isinstance(details, list) else []) if isinstance(detail, dict))


def _google_reason(error: Mapping[str, object]) -> str:
    """The reason in Google's form of an error, whose code is a number: its ErrorInfo's, or the status's name."""
    for detail in _google_details(error):
        if isinstance(reason := detail.get("reason"), str):
            return reason
    status = error.get("status")
    return status if isinstance(status, str) else ""


def _google_delay(error: Mapping[str, object]) -> float | None:
    """The delay in Google's form of an error, a number with "s" after it."""
    for detail in _google_details(error):
        if isinstance(delay := detail.get("retryDelay"), str):
            return _seconds(delay.removesuffix("s"))
    return None


def _status(value: object) -> int | None:
    text = str(value)
    return int(text) if len(text) == 3 and text.isascii() and text.isdigit() and text >= "400" else None


def _is_client_error(status: int | None) -> bool:
    return status is not None and 400 <= status < 500 and status != 408


def _retry_after(headers: Mapping[str, str], body: ErrorBody) -> float | None:
    """Seconds to wait; None if the provider did not say, or nonsense.

    They stand in `retry-after-ms`, which is the more exact where OpenAI and Azure send both, in `Retry-After` as
    seconds or as a date, or in the body.
    """
    milliseconds = _seconds(headers.get("retry-after-ms", ""), per_second=1000)
    if milliseconds is not None:
        return milliseconds
    value = headers.get("retry-after", "").strip()
    seconds = _seconds(value)
    if seconds is None and value:
        try:
            then = parsedate_to_datetime(value)
            then = then if then.tzinfo else then.replace(tzinfo=UTC)  # so says "-0000", which means the same here
            seconds = _bounded((then - datetime.now(UTC)).total_seconds())
        except (OverflowError, ValueError):
            seconds = None
    return body.retry_after if seconds is None else seconds


def _seconds(number: str, *, per_second: float = 1) -> float | None:
    try:
        seconds = float(number) / per_second
    except ValueError:
        return None
    return _bounded(seconds) if seconds == seconds else None  # noqa: PLR0124 (NaN is not itself)


def _bounded(seconds: float) -> float:
    return min(max(seconds, 0.0), _MAX_RETRY_AFTER)
