"""A server inside this process, for questions about local files: on loopback, with a token that nobody else knows."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from headwater._cli.connecting import Connection
from headwater._cli.serve import load_settings, server_failure
from headwater._cli.server_extra import server_module


@contextmanager
def local_server(data_dir: Path, *, assistant: str | None) -> Iterator[Connection]:
    """Runs all services in this process for as long as the context lasts.

    The settings are those of `headwater serve` (file and environment), but for where it listens and keeps its data.

    Args:
        data_dir: The folder that holds everything.
        assistant: The default assistant. None: that of the settings.

    Raises:
        CommandFailed: It cannot start; the message says why.
    """
    portals = server_module("runtime.app").anyio.from_thread
    application = server_module("runtime.app")
    token = secrets.token_urlsafe(32)
    given = load_settings(config=None, flags={"assistant": assistant})
    secret = server_module("runtime.settings").SecretStr(token)
    settings = given.model_copy(
        update={
            "address": "127.0.0.1:0",
            "data_dir": data_dir,
            "tokens": {"local": secret},
            "tls": server_module("runtime.settings").TlsSettings(),
            "channelz": False,
            "answers": server_module("runtime.settings").AnswerSettings(log="memory"),
        }
    )
    server_module("runtime.logs").configure(level="error", style="auto", secrets=[token, *given.secrets()])
    with portals.start_blocking_portal("asyncio") as portal:
        services = portal.wrap_async_context_manager(application.running(settings, "all"))
        try:
            running = services.__enter__()
        except Exception as error:
            raise server_failure(error, settings) from error
        try:
            yield Connection(target=running.address, token=token)
        finally:
            services.__exit__(None, None, None)
