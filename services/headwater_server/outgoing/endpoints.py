"""Where a provider is, and its key, as people set them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from urllib.parse import quote, urlsplit

_VERSION = re.compile(r"/v\d+(?:(?:alpha|beta)\d*)?\Z")


def base_url_problem(url: str) -> str:
    """Why a text cannot be a provider's base URL; empty if it can. Never repeats the text, which may hold a password.

    A base URL is an http or https URL of a host and a path and nothing else.
    """
    try:
        parts = urlsplit(url)
        port_is_valid = parts.port is None or parts.port > 0
    except ValueError:
        return "not a URL"
    if parts.scheme not in {"http", "https"} or not parts.hostname or not port_is_valid:
        return "must begin with http:// or https:// and name a host"
    if "@" in parts.netloc:
        return "must not hold a user name or password; use api_key_env"
    if parts.query or parts.fragment:
        return "must end with its path, without a query or a fragment"
    if any(character <= " " for character in url):
        return "must not hold white space"
    return ""


def api_key_of(api_key: str, api_key_env: str, *, environ: Mapping[str, str]) -> str:
    """A provider's key, of the two settings that may say it; empty if neither does.

    Args:
        api_key: The key itself.
        api_key_env: The environment variable that holds it.
        environ: The environment.

    Raises:
        ValueError: Both are set, or the variable is absent, or the key cannot stand in a header. The message holds no
            secret.
    """
    if api_key and api_key_env:
        raise ValueError("set api_key or api_key_env, not both")
    if not api_key_env:
        return _sendable(api_key.strip(), where="api_key")
    key = environ.get(api_key_env, "").strip()
    if not key:
        raise ValueError(f"api_key_env: the environment variable {api_key_env} is not set")
    return _sendable(key, where=f"api_key_env: the environment variable {api_key_env}")


def with_version(base_url: str, version: str) -> str:
    """The base URL with an API's version, such as `v1`, at its end, unless it ends with one already.

    Some providers' own variables hold the version, others do not, and people mix them up.
    """
    return base_url if _VERSION.search(base_url) else f"{base_url}/{version}"


def without_version(base_url: str) -> str:
    """The base URL without the API's version at its end, for an API of which two versions are used."""
    return _VERSION.sub("", base_url)


def path_segment(text: str) -> str:
    """A text from outside as one segment of a URL's path, which it can neither leave nor end.

    Raises:
        ValueError: It is empty, or one of the two names that lead elsewhere.
    """
    if text in {"", ".", ".."}:
        raise ValueError("cannot stand in a URL")
    return quote(text, safe="")


def model_path(model: str) -> str:
    """Where Google has a model, which is `models/NAME` unless its own name says another collection.

    Raises:
        ValueError: It cannot be the name of a model.
    """
    collection, _, name = model.rpartition("/")
    return f"{path_segment(collection or 'models')}/{path_segment(name)}"


def _sendable(key: str, *, where: str) -> str:
    """A key that can stand in a header. Checked here, for the error of whoever sends it would hold the key."""
    if not (key.isascii() and key.isprintable()):
        raise ValueError(f"{where}: holds a character that no key has, such as a line break or a letter beyond ASCII")
    return key
