"""What is a secret, wherever settings or events are shown."""

from __future__ import annotations

from urllib.parse import unquote, urlsplit

_NAMES = frozenset({"authorization", "api_key", "token", "password", "credential", "secret"})
_ENDINGS = ("_key", "_token", "_password", "_secret", "-key", "-token", "-password", "-secret")


def names_secret(key: str) -> bool:
    """Whether text under this key is a secret."""
    name = key.lower()
    return name in _NAMES or name.endswith(_ENDINGS)


def without_secrets(url: str, mask: str) -> str:
    """A URL with its user name, password and query masked; other text as it is."""
    try:
        parts = urlsplit(url)
    except ValueError:
        return mask
    if not parts.scheme or not parts.netloc:
        return url
    _, at, host = parts.netloc.rpartition("@")
    return parts._replace(netloc=f"{mask}@{host}" if at else host, query=mask if parts.query else "").geturl()


def password_in(url: str) -> set[str]:
    """The password in a URL, as it stands there and as it is meant; none if there is none."""
    try:
        password = urlsplit(url).password
    except ValueError:
        return set()
    return {password, unquote(password)} if password else set()
