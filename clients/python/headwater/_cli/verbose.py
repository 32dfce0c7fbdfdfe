"""`-v`: what happens unseen otherwise, said on standard error."""

from __future__ import annotations

import logging
import sys
from typing import Annotated

import typer

from headwater._cli.failures import say

Verbose = Annotated[
    bool, typer.Option("--verbose", "-v", help="Say so, on standard error, when a broken connection is resumed.")
]


def say_resumptions(wanted: bool) -> None:
    """Has each resumption of an answer said in one line, if that is wanted."""
    if not wanted:
        return
    log = logging.getLogger("headwater.client")
    log.handlers = [_Lines()]
    log.setLevel(logging.INFO)
    log.propagate = False  # a server in this process has a log of its own, which need not say it again


class _Lines(logging.Handler):
    """Writes each record as the command line writes what it has to say."""

    def emit(self, record: logging.LogRecord) -> None:
        if sys.stdout.isatty() and sys.stderr.isatty():
            sys.stderr.write("\n")  # the answer may be in the middle of a line of the same terminal
        say(record.getMessage())
