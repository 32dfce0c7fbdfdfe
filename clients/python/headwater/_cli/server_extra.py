"""The server's packages, which a client's installation does not have: imported here, and only when they are needed."""

from __future__ import annotations

import importlib
import importlib.util
from types import ModuleType

from headwater._cli.failures import CommandFailed


def server_module(name: str) -> ModuleType:
    """Imports a module of `headwater_server`, such as `runtime.app`.

    Raises:
        CommandFailed: The server is not installed; the message says how to install it.
    """
    try:
        return importlib.import_module(f"headwater_server.{name}")
    except ModuleNotFoundError as error:
        missing = error.name or ""
        if missing.startswith(("headwater_server.", "headwater.")):
            raise  # a defect of ours, not a missing extra
        raise CommandFailed(
            f'this needs the server, which is not installed (no {missing}): pip install "headwater[serve]"'
        ) from error


def is_installed() -> bool:
    """Whether the server's own package and its heaviest dependency are there."""
    return all(importlib.util.find_spec(name) is not None for name in ("headwater_server", "onnxruntime"))
