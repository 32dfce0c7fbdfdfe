"""Where a provider is, and its key, as people set them."""

from __future__ import annotations

from collections.abc import Mapping
from urllib.parse import urlsplit


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
        ValueError: Both are set, or the variable is absent. The message holds no secret.
    """
    if api_key and api_key_env:
        raise ValueError("set api_key or api_key_env, not both")
    if not api_key_env:
        return api_key.strip()
    key = environ.get(api_key_env, "").strip()
    if not key:
        raise ValueError(f"api_key_env: the environment variable {api_key_env} is not set")
    return key
