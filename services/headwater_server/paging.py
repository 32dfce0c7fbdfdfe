"""Pages of lists: how much is on one, and the tokens that say where the next begins."""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
from collections.abc import Iterable
from typing import TypeVar

from google.protobuf.message import Message

from headwater_server.errors import InvalidRequest

DEFAULT_PAGE_SIZE = 100
MAX_PAGE_SIZE = 1000
MAX_PAGE_BYTES = 3 * 1024 * 1024
"""A page ends before it has more; without the few bytes that a message itself takes."""

_SIGNATURE_BYTES = 16
_FIELD_BYTES = 8
"""What a message takes in the list beside its own bytes, at most: its tag and its length."""

M = TypeVar("M", bound=Message)


class PageTokens:
    """Makes and reads page tokens. A token is good for the list for which it was made, and for no other tenant's.

    Args:
        key: The secret to sign with. Without one a token is still told from another list's and from one cut short, not
            from one made up: enough where it can only lead through the caller's own.
    """

    def __init__(self, key: bytes = b"") -> None:
        self._key = key

    def make(self, *scope: str, last: str) -> str:
        """The token of the page after the one that ends with `last`.

        Args:
            scope: Which list: the call, the tenant, the parent.
            last: The id of the last item on the page.
        """
        return base64.urlsafe_b64encode(self._sign(scope, last.encode()) + last.encode()).decode().rstrip("=")

    def read(self, token: str, *scope: str) -> str:
        """The id after which the page begins; "" for the first.

        Raises:
            InvalidRequest: The token is not one of this list's.
        """
        if not token:
            return ""
        try:
            raw = base64.b64decode(token + "=" * (-len(token) % 4), altchars=b"-_", validate=True)
            last = raw[_SIGNATURE_BYTES:].decode()
        except (binascii.Error, ValueError):
            raise _not_ours() from None
        if not hmac.compare_digest(raw[:_SIGNATURE_BYTES], self._sign(scope, last.encode())):
            raise _not_ours()
        return last

    def _sign(self, scope: tuple[str, ...], last: bytes) -> bytes:
        # Each part goes in with its length, so that no two scopes are signed alike.
        parts = [part.encode() for part in scope] + [last]
        message = b"".join(len(part).to_bytes(4) + part for part in parts)
        return hmac.digest(self._key, message, hashlib.sha256)[:_SIGNATURE_BYTES]


def page_size(requested: int, *, default: int = DEFAULT_PAGE_SIZE) -> int:
    """How many items a page has at most."""
    return min(requested or default, MAX_PAGE_SIZE)


def page_of(messages: Iterable[M], *, limit: int) -> tuple[list[M], bool]:
    """The messages that fit on a page: at least one, where there is one.

    Args:
        messages: What follows the page before, in order; at least one more than `limit` where there are as many.
        limit: How many at most.

    Returns:
        The page, and whether anything follows it.
    """
    page: list[M] = []
    room = MAX_PAGE_BYTES
    for message in messages:
        room -= message.ByteSize() + _FIELD_BYTES
        if len(page) == limit or (page and room < 0):
            return page, True
        page.append(message)
    return page, False


def _not_ours() -> InvalidRequest:
    return InvalidRequest(
        "page_token", "is not a next_page_token of this list: send one unchanged, with the same parent, or none"
    )
