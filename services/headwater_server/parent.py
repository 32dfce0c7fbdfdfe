"""Processes that one of ours starts: what they are given, and that they end with it."""

from __future__ import annotations

import ctypes
import os
import re
import signal
import sys

_PR_SET_PDEATHSIG = 1
_ENVIRONMENT = re.compile(
    r"(LANG|LC_\w+|TZ|PATH|HOME|TMPDIR|VIRTUAL_ENV|PYTHON\w+|LD_LIBRARY_PATH|(OMP|MKL|OPENBLAS|ORT|MALLOC)_\w+)"
)


def environment(*, also: str = "") -> dict[str, str]:
    """The variables that such a process gets. The others may hold keys of providers, which are none of its business.

    Args:
        also: The names of further ones, as a regular expression.
    """
    more = re.compile(also)
    return {name: value for name, value in os.environ.items() if _ENVIRONMENT.fullmatch(name) or more.fullmatch(name)}


def end_with(parent: int) -> None:
    """Lets the kernel end this process when its parent dies, however that happens (on Linux)."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:  # it died before we asked
        sys.exit(1)
