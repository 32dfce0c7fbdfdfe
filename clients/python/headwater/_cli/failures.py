"""What a failed command says: one line on standard error, with what to do, and an exit code other than 0."""

from __future__ import annotations

import errno
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import typer

from headwater import _exceptions as exc

FAILED = 1
USAGE = 2
INTERRUPTED = 130
BROKEN_PIPE = 141
"""As a shell reports a program that SIGPIPE has ended."""

_HINTS: dict[type[exc.HeadwaterError], str] = {
    exc.ConnectionLost: "run the command again",
    exc.Unauthenticated: "give the server's token with --token or HEADWATER_TOKEN",
    exc.NotImplementedByServer: "a newer server may be able to",
    exc.OwnerLost: "ask again",
    exc.ServerDraining: "wait until it is back, or name another with --target",
    exc.Overloaded: "run the command again in a moment",
    exc.ProviderUnavailable: "is the model server running? look at base_url, or OPENAI_BASE_URL, where the server runs",
    exc.ProviderUnauthenticated: "set another key where the server runs; `headwater doctor` shows which are set",
    exc.ProtocolError: "is there a Headwater server of this version at the other end?",
}


class CommandFailed(Exception):
    """A command cannot go on.

    Attributes:
        message: What happened, to what, and what to do. Empty: it has been said already.
        code: The exit code.
    """

    def __init__(self, message: str, *, code: int = FAILED) -> None:
        super().__init__(message)
        self.message = message
        self.code = code


@contextmanager
def reported() -> Iterator[None]:
    """Turns every failure into its line and an exit code. HEADWATER_DEBUG lets the exception through instead.

    Raises:
        typer.Exit: The command failed.
    """
    try:
        yield
        sys.stdout.flush()
    except (typer.Exit, typer.Abort):
        raise
    except BrokenPipeError:
        silence()
        raise typer.Exit(BROKEN_PIPE) from None
    except KeyboardInterrupt:
        raise typer.Exit(INTERRUPTED) from None
    except Exception as error:
        if os.environ.get("HEADWATER_DEBUG") or _is_usage_error(error):
            raise
        message, code = explained(error)
        if message:
            say(message)
        raise typer.Exit(code) from None


def explained(error: BaseException) -> tuple[str, int]:
    """The line and the exit code of an exception."""
    error = innermost(error)
    if isinstance(error, CommandFailed):
        return error.message, error.code
    if isinstance(error, exc.ArgumentError):
        return error.message, USAGE
    if isinstance(error, exc.HeadwaterError):
        return describe(error), FAILED
    if isinstance(error, OSError):
        return _of_system(error), FAILED
    kind = type(error).__name__
    return f"this should not have happened: {kind}: {error} (HEADWATER_DEBUG=1 shows where)", FAILED


def describe(error: exc.HeadwaterError) -> str:
    """An exception of the client in one line, with what to do where that is known."""
    if isinstance(error, exc.ConnectionFailed):
        return _unreachable(error.message)
    if isinstance(error, exc.NotFound) and "corpora/" in error.resource and "/documents/" not in error.resource:
        corpus = error.resource.removeprefix("corpora/")
        return f"{error.message}: `headwater import PATH --corpus {corpus}` creates it"
    hint = (
        _resource_hint(error)
        or behind_hint(error)
        or next((hint for kind, hint in _HINTS.items() if isinstance(error, kind)), "")
    )
    violations = "; ".join(
        f"{violation.field}: {violation.description}"
        for violation in getattr(error, "violations", ())
        if violation.description not in error.message
    )
    return ": ".join(part for part in (error.message.rstrip(". "), violations, hint) if part)


def _resource_hint(error: exc.HeadwaterError) -> str:
    """What to do about a chat or an answer. Empty: the error is about neither."""
    if isinstance(error, exc.ChatBusy) and error.answer:
        name = error.answer.removeprefix("answers/")
        return f"`headwater answers resume {name}` reads it, `headwater answers cancel {name}` stops it"
    if isinstance(error, exc.NotFound):
        kind = error.resource.partition("/")[0]
        return f"`headwater {kind} list` shows those there are" if kind in {"answers", "chats"} else ""
    return ""


def behind_hint(error: exc.HeadwaterError) -> str:
    """What to do where what is behind an orchestrator does not answer it. Empty: the error is another."""
    service = error.metadata.get("service", "") if isinstance(error, exc.ProviderUnavailable) else ""
    if service == "chats":
        return "the server's log says why"
    return f"is it running? the orchestrator looks for it at its --{service}-target" if service else ""


def say(message: str) -> None:
    """Writes one line to standard error."""
    with_room = " ".join(message.split())
    try:
        sys.stderr.write(f"headwater: {with_room}\n")
        sys.stderr.flush()
    except OSError:
        silence()


def silence() -> None:
    """Sends what is still to be written nowhere, after the reader at the other end of a pipe has gone."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except OSError:
            os.dup2(nowhere, stream.fileno())
    os.close(nowhere)


def usage_error(error: Exception) -> int | None:
    """Says what is wrong with the arguments, and returns the exit code. None: the error is about something else."""
    if not _is_usage_error(error):
        return None
    if type(error).__name__ == "NoArgsIsHelpError":  # its message is the whole help of a group, not a line
        _show_help(str(error))
        return USAGE
    context = getattr(error, "ctx", None)
    path = context.command_path if context is not None else "headwater"
    message = error.format_message() if hasattr(error, "format_message") else str(error)
    message = message.replace("Value error, ", "")  # said by a library underneath, and of no use to people
    say(f"{message.rstrip('.')}: see `{path} --help`" if message else f"see `{path} --help`")
    return USAGE


def _show_help(text: str) -> None:
    try:
        sys.stderr.write(text.rstrip("\n") + "\n")
        sys.stderr.flush()
    except OSError:
        silence()


def _is_usage_error(error: BaseException) -> bool:
    """Whether it is an exception of the parser of arguments, whose classes typer has not always shown."""
    return hasattr(error, "format_message") and hasattr(error, "exit_code")


def innermost(error: BaseException) -> BaseException:
    """The exception itself, or the first one in a group."""
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error


def _of_system(error: OSError) -> str:
    if error.errno == errno.ENOSPC:
        return "the disk is full: make room, and run the command again"
    return ": ".join(str(part) for part in (error.filename, error.strerror or error) if part)


def _unreachable(message: str) -> str:
    what, _, why = message.partition(": ")
    cause = why.rpartition("last error: ")[2].strip(" ;")
    if "Connection refused" in cause:
        cause = "nothing listens there"
    return f"{what} ({cause}): start one with `headwater serve`, or name another with --target"
