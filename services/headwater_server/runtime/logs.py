"""The log: structured, one event a line, on standard error, with every secret masked."""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Iterable, MutableMapping
from contextlib import suppress
from typing import Any, Literal, TextIO, cast

import structlog

from headwater_server.runtime.masking import names_secret

MASK = "[secret]"


def configure(
    *,
    level: Literal["debug", "info", "warning", "error"] = "info",
    style: Literal["auto", "json", "console"] = "auto",
    secrets: Iterable[str] = (),
    process: str = "",
) -> None:
    """Sets up the process's log.

    Args:
        level: The least important event that is logged.
        style: One JSON object a line, or lines for people; `auto` chooses by whether standard error is a terminal.
        secrets: Values that must never be written, wherever in an event they stand.
        process: Which of a server's processes this is, to be said with each event; empty where there is one.
    """
    os.environ.setdefault("GRPC_VERBOSITY", "ERROR")  # its core's chatter goes past us, straight to standard error
    for_people = style == "console" or (style == "auto" and sys.stderr.isatty())
    renderer = (
        structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty(), exception_formatter=structlog.dev.plain_traceback)
        if for_people
        else structlog.processors.JSONRenderer(ensure_ascii=False)
    )
    number = logging.getLevelNamesMapping()[level.upper()]
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            *([_Named(process)] if process else []),
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            # As text, without local variables: those hold prompts, documents and keys.
            structlog.processors.format_exc_info,
            _Mask(secrets),
            renderer,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(number),
        # Line and line end at once: several processes write to one file.
        logger_factory=structlog.WriteLoggerFactory(cast("TextIO", _Forgiving(sys.stderr))),
        cache_logger_on_first_use=False,
    )
    foreign = logging.getLogger()
    foreign.handlers = [*(item for item in foreign.handlers if not isinstance(item, _Foreign)), _Foreign()]
    foreign.setLevel(max(number, logging.WARNING) if level != "debug" else logging.INFO)


class _Named:
    """Says with each event which process it is of."""

    def __init__(self, process: str) -> None:
        self._process = process

    def __call__(self, _logger: Any, _method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
        event.setdefault("process", self._process)
        return event


class _Forgiving:
    """A file where what cannot be written is lost: a full disk under the log must not end what is being logged."""

    def __init__(self, file: TextIO) -> None:
        self._file = file

    def write(self, text: str) -> int:
        """Writes, where it can."""
        with suppress(OSError):
            self._file.write(text)
        return len(text)

    def flush(self) -> None:
        """Flushes, where it can."""
        with suppress(OSError):
            self._file.flush()


class _Foreign(logging.Handler):
    """Brings what libraries log into the same form."""

    def emit(self, record: logging.LogRecord) -> None:
        """Logs a record as an event."""
        logger = structlog.get_logger(record.name)
        logger.log(record.levelno, record.getMessage(), logger=record.name, exc_info=record.exc_info)


class _Mask:
    """Masks values under telling keys, and known secrets wherever they stand."""

    def __init__(self, secrets: Iterable[str]) -> None:
        self._secrets = sorted({secret for secret in secrets if secret}, key=len, reverse=True)

    def __call__(self, _logger: Any, _method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
        for key, value in event.items():
            event[key] = self._masked_item(key, value)
        return event

    def _masked_item(self, key: object, value: Any) -> Any:
        return MASK if names_secret(str(key)) else self._masked(value)

    def _masked(self, value: Any) -> Any:
        match value:
            case str():
                for secret in self._secrets:
                    value = value.replace(secret, MASK)
                return value
            case dict():
                return {key: self._masked_item(key, item) for key, item in value.items()}
            case list() | tuple():
                return [self._masked(item) for item in value]
            case bool() | int() | float() | None:
                return value
            case _:
                return self._masked(repr(value))
