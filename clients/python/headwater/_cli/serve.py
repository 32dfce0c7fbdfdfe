"""`headwater serve`."""

from __future__ import annotations

import signal
import sys
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from headwater._cli.failures import FAILED, INTERRUPTED, USAGE, CommandFailed, explained, innermost
from headwater._cli.server_extra import server_module

app = typer.Typer(add_completion=False, rich_markup_mode=None)

_ADDRESSES = {"retrieval": "127.0.0.1:50052", "assistant": "127.0.0.1:50053"}


class Role(StrEnum):
    """Which services a process serves."""

    all = "all"
    retrieval = "retrieval"
    assistant = "assistant"
    orchestrator = "orchestrator"


@app.command()
def serve(
    *,
    role: Annotated[Role, typer.Argument(help="Which services.", show_default="all")] = Role.all,
    address: Annotated[
        str | None, typer.Option(metavar="HOST:PORT", help="Where to listen; port 0 takes a free one.")
    ] = None,
    data_dir: Annotated[Path | None, typer.Option(metavar="DIR", help="The folder that holds everything.")] = None,
    config: Annotated[
        Path | None, typer.Option(envvar="HEADWATER_CONFIG", metavar="FILE", help="The settings, TOML.")
    ] = None,
    assistant: Annotated[
        str | None, typer.Option(metavar="PROVIDER/MODEL", help="The assistant of questions that name none.")
    ] = None,
    insecure: Annotated[bool, typer.Option("--insecure", help="Listen beyond this machine without TLS.")] = False,
    retrieval_target: Annotated[
        str | None, typer.Option(metavar="HOST:PORT", help="Where an orchestrator finds the retrieval service.")
    ] = None,
    assistant_target: Annotated[
        str | None, typer.Option(metavar="HOST:PORT", help="Where an orchestrator finds the assistant service.")
    ] = None,
    processes: Annotated[
        str | None, typer.Option(metavar="N", help="How many processes take calls; `auto`: as many as there are CPUs.")
    ] = None,
    log_level: Annotated[
        str | None, typer.Option(metavar="LEVEL", help="The least to log: debug, info, warning or error.")
    ] = None,
    print_config: Annotated[
        bool, typer.Option("--print-config", help="Show the settings, secrets masked, and exit.")
    ] = False,
) -> None:
    """Run a server: all services in one process, in several, or one of them.

    Ctrl-C lets running answers end; a second Ctrl-C stops at once.
    """
    flags: dict[str, Any] = {
        "address": address,
        "data_dir": data_dir,
        "assistant": assistant,
        "insecure": insecure or None,
        "retrieval_target": retrieval_target,
        "assistant_target": assistant_target,
        "processes": processes,
        "log": {"level": log_level} if log_level else None,
    }
    settings = load_settings(config=config, flags=flags, role=role.value)
    if print_config:
        sys.stdout.write(server_module("runtime.settings_toml").as_toml(settings))
        return
    server_module("runtime.logs").configure(
        level=settings.log.level, style=settings.log.format, secrets=settings.secrets()
    )
    _run(settings, role.value)


def load_settings(*, config: Path | None, flags: dict[str, Any], role: str = "all") -> Any:
    """Reads the settings, with the address that the role has where nothing says another.

    Raises:
        CommandFailed: They are not as they must be, or the server is not installed.
    """
    module = server_module("runtime.settings")
    try:
        settings = module.load(config=config, flags=flags)
    except module.SettingsError as error:
        raise CommandFailed(str(error), code=USAGE) from error
    if role in _ADDRESSES and "address" not in settings.model_fields_set:
        settings = settings.model_copy(update={"address": _ADDRESSES[role]})
    return settings


def _run(settings: Any, role: str) -> None:
    options = server_module("runtime.loops").backend_options()
    several = settings.process_count > 1
    service = server_module("runtime.processes.supervisor" if several else "runtime.app")
    serve_all = service.serve_in_processes if several else service.serve
    anyio = service.anyio

    def ready(address: str) -> None:
        sys.stdout.write(_ready_line(settings, role, address) + "\n")
        sys.stdout.flush()

    async def main() -> Any:
        return await serve_all(settings, role, ready=ready)

    try:
        asked = anyio.run(main, backend_options=options)
    except KeyboardInterrupt:
        raise
    except BaseException as error:
        raise server_failure(error, settings) from error
    if asked == signal.SIGINT:
        raise typer.Exit(INTERRUPTED)


def _ready_line(settings: Any, role: str, address: str) -> str:
    facts = []
    if role in {"all", "retrieval"}:
        facts.append(f"data in {settings.data_dir}")
    if role in {"all", "assistant"}:
        facts.append(f"assistant {settings.assistant}")
    if role == "orchestrator":
        facts.append(f"retrieval at {settings.retrieval_target}, assistant at {settings.assistant_target}")
    name = "headwater" if role == "all" else f"headwater {role}"
    return " · ".join([f"{name} is ready on {address}", *facts])


def server_failure(error: BaseException, settings: Any) -> CommandFailed:
    """What to say of a server that could not start, or go on."""
    cause = innermost(error)
    if isinstance(cause, server_module("runtime.settings").SettingsError):
        return CommandFailed(str(cause), code=USAGE)
    if isinstance(cause, server_module("runtime.data_dir").DataDirError | server_module("runtime.server").PortInUse):
        return CommandFailed(str(cause), code=FAILED)
    if "disk is full" in str(cause) or "No space left" in str(cause):
        return CommandFailed(
            f"the disk of the data folder {settings.data_dir} is full: make room, or choose another with --data-dir"
        )
    if type(cause).__module__.startswith("headwater_server."):
        return CommandFailed(f"{cause}")
    message, code = explained(cause)
    return CommandFailed(message, code=code)
