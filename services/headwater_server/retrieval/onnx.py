"""ONNX Runtime, which is loaded by those who need it, and never reports its use to its maker."""

from __future__ import annotations

import os
from typing import Any


def load_runtime() -> Any:
    """The module `onnxruntime`; the first time takes 0.1 s.

    From version 1.32 on it has telemetry, on by default, unless it is told otherwise before it is loaded: it opens a
    file in the user's cache folder, and names a host of its maker's.

    Raises:
        ImportError: It is not installed.
    """
    os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
    import onnxruntime  # noqa: PLC0415 (see above)

    return onnxruntime
