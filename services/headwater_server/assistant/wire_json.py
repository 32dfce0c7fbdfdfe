"""JSON from providers, read without trust: what is of another type than it should be counts as absent."""

from __future__ import annotations

import json

from headwater_server.outgoing.provider_errors import ErrorBody, ProviderErrors
from headwater_server.outgoing.sse import ServerSentEvent
from headwater_server.text import shortened, without_surrogates

Table = dict[str, object]

_MAX_INT = 2**31 - 1
_MAX_LABEL = 256


def table_of(data: bytes, errors: ProviderErrors) -> Table:
    """A JSON object.

    Raises:
        ServiceError: It is not JSON, or no object (PROVIDER_PROTOCOL).
    """
    try:
        document = json.loads(data.decode())
    except (ValueError, RecursionError):
        raise errors.protocol("an event that is not JSON") from None
    if not isinstance(document, dict):
        raise errors.protocol("an event that is not a JSON object")
    return document


def table_of_event(event: ServerSentEvent, errors: ProviderErrors) -> Table:
    """The JSON object of an event.

    Raises:
        ServiceError: It is not JSON, or no object (PROVIDER_PROTOCOL); or an event of the type `error`, whose data may
            be plain words.
    """
    if event.event == "error":
        raise errors.in_stream(ErrorBody.plain(event.data))
    return table_of(event.data, errors)


def table(value: object) -> Table:
    """The value if it is an object, or an empty one."""
    return value if isinstance(value, dict) else {}


def tables(value: object) -> list[Table]:
    """The objects in the value, if it is an array."""
    return [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []


def string(value: object) -> str:
    """The value if it is a string, or an empty one."""
    return value if isinstance(value, str) else ""


def label(value: object) -> str:
    """The value if it is a string, on one line and of a length to be shown; or an empty one."""
    return shortened(without_surrogates(value), _MAX_LABEL) if isinstance(value, str) else ""


def count(value: object) -> int | None:
    """A count of tokens, or None for whatever is not one."""
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 <= value <= _MAX_INT:
        return None
    return int(value)


def index(value: object) -> int:
    """A place in a list, from 0; −1 for whatever is not one."""
    return value if isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= _MAX_INT else -1


def is_model_id(value: object) -> bool:
    """Whether a list of models may hold this as an id."""
    return isinstance(value, str) and 0 < len(value) <= 200 and value.isprintable()
