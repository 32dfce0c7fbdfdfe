"""What keeps workers from harm on this system, tried in a process made for it: `python -m …workers.probe`."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from headwater_server.retrieval.workers.messages import Ready, decode, encode
from headwater_server.retrieval.workers.sandbox import Protection, enter_sandbox, readable_paths

_SECONDS = 60


def probe(*, private: Path | None = None) -> tuple[Protection, ...]:
    """Restricts a process as a worker's is, and says what could be put up.

    Args:
        private: The folder with the documents, if there is one.

    Raises:
        OSError: No process could be started, or it did not do it.
    """
    command = [sys.executable, "-P", "-m", __name__, *([str(private)] if private else [])]
    try:
        done = subprocess.run(command, capture_output=True, timeout=_SECONDS, check=True)  # noqa: S603 (our own module)
    except subprocess.SubprocessError as error:
        raise OSError(f"the process that tries it did not end well: {error}") from error
    answer = decode(done.stdout)
    if not isinstance(answer, Ready):
        raise OSError("the process that tries it said something else")
    return answer.protections


if __name__ == "__main__":
    folder = Path(sys.argv[1]) if len(sys.argv) > 1 else None
    sys.stdout.buffer.write(encode(Ready(enter_sandbox(readable_paths(sys.path, private=folder)))))
