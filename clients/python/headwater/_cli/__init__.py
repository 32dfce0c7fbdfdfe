"""The command line, `headwater`. It needs the extra `cli`; `serve` and questions about local files need `serve`."""

from __future__ import annotations

import importlib
import importlib.util
import os
import sys
from typing import NoReturn

_PACKAGES = ("typer", "rich")


def main() -> NoReturn:
    """Runs the command that the arguments name, and exits with its code."""
    if any(importlib.util.find_spec(package) is None for package in _PACKAGES):
        sys.stderr.write('headwater: the command line is not installed: pip install "headwater[cli]"\n')
        sys.exit(1)
    # gRPC core writes lines of its own to standard error, beside the exceptions that say the same; it reads this once.
    os.environ.setdefault("GRPC_VERBOSITY", "NONE")
    sys.exit(importlib.import_module("headwater._cli.app").run())
