"""The environment of the peers that are no part of ours, because what they need is large and in nobody's way there.

    python -m venv .venv-peers
    .venv-peers/bin/pip install fastapi 'uvicorn[standard]' httpx httpx-sse sse-starlette 'litellm[proxy]'

Where it is missing, the peers are left out, and that is said.
"""

from __future__ import annotations

import argparse
import subprocess
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
DEFAULT_PYTHON = ROOT / ".venv-peers/bin/python"
_NEEDED = {"fastapi": ("fastapi", "uvicorn", "httpx", "httpx_sse", "sse_starlette"), "litellm": ("litellm",)}
PEERS = tuple(_NEEDED)


def add_option(parser: argparse.ArgumentParser) -> None:
    """Lets whoever runs a benchmark say where the peers are."""
    parser.add_argument(
        "--peers", type=Path, default=DEFAULT_PYTHON, metavar="PYTHON", help="the Python that has FastAPI and LiteLLM"
    )


def available(python: Path) -> list[str]:
    """The peers that an environment has; says which it has not."""
    found = [name for name in PEERS if python.exists() and _has(python, _NEEDED[name])]
    missing = [name for name in PEERS if name not in found]
    if missing:
        print(f"{', '.join(missing)}: left out, {python} has not what they need (see benchmarks/relay/peers.py)\n")
    return found


def _has(python: Path, packages: tuple[str, ...]) -> bool:
    looks = f"import importlib.util, sys; sys.exit(any(map(lambda n: not importlib.util.find_spec(n), {packages!r})))"
    return subprocess.run([python, "-c", looks], check=False).returncode == 0
