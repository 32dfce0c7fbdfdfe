"""What every provider does with the settings of a request: map them, or refuse them by name."""

from __future__ import annotations

from collections.abc import Collection, Mapping

from headwater_server.errors import InvalidRequest

_TOOLS = frozenset(
    {"functions", "function_call", "parallel_tool_calls", "tool_choice", "tool_config", "toolConfig", "tools"}
)


def with_options(
    document: dict[str, object], options: Mapping[str, object], *, reserved: Collection[str]
) -> dict[str, object]:
    """The document of a request with the caller's own fields in it.

    Args:
        document: The document; its fields are not the caller's to set.
        options: `provider_options`.
        reserved: Further fields that are not the caller's to set.

    Raises:
        InvalidRequest: One of the fields is not the caller's to set, or asks for tools.
    """
    for name in options:
        where = f"generation.provider_options.{name}"
        if name in _TOOLS:
            raise InvalidRequest(where, "tools are not supported")
        if name in reserved or name in document:
            raise InvalidRequest(where, "is set by Headwater or by a field of its own; leave it out")
    return {**document, **options}


def with_nested(
    settings: dict[str, object], options: object, *, field: str, reserved: Collection[str] = ()
) -> dict[str, object]:
    """The settings that an API keeps in a field of its own, with the caller's own ones in it.

    Args:
        settings: What is set; not the caller's to set again.
        options: `provider_options` of that field.
        field: The field's name, for errors.
        reserved: Further settings that are not the caller's.

    Raises:
        InvalidRequest: They are no object, or one of them is not the caller's to set.
    """
    where = f"generation.provider_options.{field}"
    if not isinstance(options, dict):
        raise InvalidRequest(where, "must be an object")
    for name in options:
        if name in settings or name in reserved:
            raise InvalidRequest(f"{where}.{name}", "is set by Headwater or by a field of its own; leave it out")
    return {**settings, **options}


def present(fields: Mapping[str, object]) -> dict[str, object]:
    """The fields that are set."""
    return {name: value for name, value in fields.items() if value is not None}


def refuse_seed(seed: int | None, *, provider: str) -> None:
    """Refuses a seed where the provider has none.

    Raises:
        InvalidRequest: There is one.
    """
    if seed is not None:
        raise InvalidRequest("generation.seed", f"{provider} has no seed; leave it out")


def refuse_above(value: float | None, most: float, *, field: str, provider: str) -> None:
    """Refuses a sampling setting that is over what the provider's API allows.

    Raises:
        InvalidRequest: It is.
    """
    if value is not None and value > most:
        raise InvalidRequest(f"generation.{field}", f"{provider} takes at most {most:g}")
