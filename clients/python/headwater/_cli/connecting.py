"""The options that say which server to talk to, on every command that does."""

from __future__ import annotations

import inspect
import signal
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import wraps
from pathlib import Path
from types import FrameType
from typing import Annotated, Any, NoReturn

import typer

from headwater._client import Client
from headwater._connection import TlsSettings

PANEL = "Server"


@dataclass(frozen=True, slots=True)
class Connection:
    """Where the server is, and how to connect to it."""

    target: str | None = None
    """The address. None: the client's default."""
    token: str | None = field(default=None, repr=False)
    """The bearer token."""
    tls: TlsSettings | None = None
    """How to secure the connection. None: as the client does by itself."""
    insecure: bool = False
    """Whether plain text beyond this machine is fine."""

    def open(self, *, timeout: float | None = 60.0) -> Client:
        """A client. Nothing is sent before its first call.

        From here on SIGTERM ends the command in order, as Ctrl-C does: what it asked for is stopped.

        Args:
            timeout: Seconds that a call may take that is not a stream.

        Raises:
            ArgumentError: The options contradict each other.
        """
        signal.signal(signal.SIGTERM, _end)
        return Client(
            self.target,
            token=self.token,
            tls=self.tls,
            insecure=self.insecure,
            timeout=timeout,
            user_agent="headwater-cli",
        )


def _end(number: int, _frame: FrameType | None) -> NoReturn:
    raise SystemExit(128 + number)


def _connection(
    *,
    target: Annotated[
        str | None,
        typer.Option(
            envvar="HEADWATER_TARGET",
            metavar="HOST:PORT",
            help="The server.  [default: 127.0.0.1:50051]",
            rich_help_panel=PANEL,
        ),
    ] = None,
    token: Annotated[
        str | None,
        typer.Option(
            envvar="HEADWATER_TOKEN",
            metavar="TOKEN",
            help="The token to show; better set in the environment.",
            rich_help_panel=PANEL,
        ),
    ] = None,
    tls: Annotated[bool, typer.Option("--tls", help="Use TLS on this machine too.", rich_help_panel=PANEL)] = False,
    tls_ca: Annotated[
        Path | None,
        typer.Option(
            envvar="HEADWATER_TLS_CA", metavar="FILE", help="Certificates to trust, PEM.", rich_help_panel=PANEL
        ),
    ] = None,
    tls_cert: Annotated[
        Path | None, typer.Option(metavar="FILE", help="The client's own certificate, PEM.", rich_help_panel=PANEL)
    ] = None,
    tls_key: Annotated[
        Path | None, typer.Option(metavar="FILE", help="The key of that certificate, PEM.", rich_help_panel=PANEL)
    ] = None,
    tls_server_name: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="The name the server's certificate must have.", rich_help_panel=PANEL),
    ] = None,
    insecure: Annotated[
        bool, typer.Option("--insecure", help="Use plain text beyond this machine too.", rich_help_panel=PANEL)
    ] = False,
) -> Connection:
    secured = tls or any(option is not None for option in (tls_ca, tls_cert, tls_key, tls_server_name))
    settings = TlsSettings(ca=tls_ca, certificate=tls_cert, key=tls_key, server_name=tls_server_name)
    return Connection(target=target, token=token, tls=settings if secured else None, insecure=insecure)


def given_options(context: typer.Context) -> list[str]:
    """The options of a connection that the command line itself has, such as `--target`; not the environment's."""
    sources = {name: context.get_parameter_source(name) for name in _options()}
    return [
        f"--{name.replace('_', '-')}"
        for name, source in sources.items()
        if source is not None and source.name == "COMMANDLINE"
    ]


def connecting(command: Callable[..., None]) -> Callable[..., None]:
    """Gives a command the options of a connection, and calls it with a `connection` made of them."""
    options = _options()
    own = inspect.signature(command, eval_str=True)
    parameters = [parameter for name, parameter in own.parameters.items() if name != "connection"]

    @wraps(command)
    def connected(**arguments: Any) -> None:
        chosen = {name: arguments.pop(name) for name in options}
        texts = {name: _readable(value) for name, value in arguments.items()}
        command(connection=_connection(**chosen), **texts)

    by_name = [parameter.replace(kind=inspect.Parameter.KEYWORD_ONLY) for parameter in parameters]
    signature = own.replace(parameters=[*by_name, *options.values()])
    connected.__signature__ = signature  # type: ignore[attr-defined]  # inspect reads it, and functions do not declare it
    connected.__annotations__ = {name: parameter.annotation for name, parameter in signature.parameters.items()}
    return connected


def _options() -> Mapping[str, inspect.Parameter]:
    return inspect.signature(_connection, eval_str=True).parameters


def _readable(value: Any) -> Any:
    """A text, or a list of texts, without the surrogates that stand for bytes that are not UTF-8 (PEP 383)."""
    if isinstance(value, list):
        return [_readable(each) for each in value]
    if isinstance(value, str):
        return value.encode("utf-8", "surrogateescape").decode("utf-8", "replace")
    return value
