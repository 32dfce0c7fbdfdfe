"""Settings as TOML, for people to read."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import SecretStr

from headwater_server.runtime.masking import names_secret, without_secrets
from headwater_server.runtime.settings import Settings

MASK = "*" * 16
"""Stands for a secret; as long as a token has to be, so that what is shown loads again."""


def as_toml(settings: Settings) -> str:
    """The settings as TOML, secrets masked, for `--print-config`."""
    lines: list[str] = []
    _write_table(settings.model_dump(), (), lines)
    return "\n".join(lines).strip() + "\n"


def _write_table(values: Mapping[str, Any], path: tuple[str, ...], lines: list[str]) -> None:
    tables = {name: value for name, value in values.items() if isinstance(value, dict)}
    plain = {name: value for name, value in values.items() if name not in tables and value is not None}
    if path and (plain or not tables):
        lines += ["", f"[{'.'.join(map(_toml_key, path))}]"]
    lines += [f"{_toml_key(name)} = {_toml_value(_shown(name, value))}" for name, value in plain.items()]
    for name, value in tables.items():
        _write_table(value, (*path, name), lines)


def _shown(name: str, value: Any) -> Any:
    """A value as it may be shown: plugins' own keys, too, may hold secrets, and so may a URL."""
    if not isinstance(value, str):
        return value
    return MASK if names_secret(name) else without_secrets(value, MASK)


def _toml_key(name: str) -> str:
    return name if name and all(c.isascii() and (c.isalnum() or c in "_-") for c in name) else _toml_value(name)


def _toml_value(value: Any) -> str:
    match value:
        case bool():
            return "true" if value else "false"
        case int() | float():
            return repr(value)
        case SecretStr():
            return f'"{MASK}"'
        case dict():
            shown = {name: _shown(name, item) for name, item in value.items() if item is not None}
            items = (f"{_toml_key(name)} = {_toml_value(item)}" for name, item in shown.items())
            return "{" + ", ".join(items) + "}"
        case list() | tuple():
            return "[" + ", ".join(map(_toml_value, value)) + "]"
        case _:
            escaped = str(value).replace("\\", "\\\\").replace('"', '\\"')
            return '"' + "".join(c if c.isprintable() else f"\\U{ord(c):08x}" for c in escaped) + '"'
