"""Page tokens: where the next page of a list begins, signed."""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac

from headwater_server.errors import InvalidRequest

DEFAULT_PAGE_SIZE = 100
MAX_PAGE_SIZE = 1000
MAX_PAGE_BYTES = 3 * 1024 * 1024
"""A page ends before it has more; without the few bytes that a message itself takes."""

_SIGNATURE_BYTES = 16


class PageTokens:
    """Makes and reads page tokens. A token is good for the list for which it was made, and for no other tenant's.

    Args:
        key: The secret to sign with.
    """

    def __init__(self, key: bytes) -> None:
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


def page_size(requested: int) -> int:
    """How many items a page has at most."""
    return min(requested or DEFAULT_PAGE_SIZE, MAX_PAGE_SIZE)


def _not_ours() -> InvalidRequest:
    return InvalidRequest(
        "page_token", "is not a next_page_token of this list: send one unchanged, with the same parent, or none"
    )
