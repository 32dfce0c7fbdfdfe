"""Serves a model with llama.cpp until its standard input closes: `python serve.py MODEL`.

Prints one line, `LISTEN http://127.0.0.1:PORT`, when it is ready.
"""

from __future__ import annotations

import sys

import xllamacpp  # type: ignore[import-untyped]  # it ships no types


def main() -> None:
    """Runs the server."""
    parameters = xllamacpp.CommonParams()
    parameters.model.path = sys.argv[1]
    parameters.port = 0
    parameters.n_ctx = 4 * 4096
    parameters.n_parallel = 4
    parameters.cpuparams.n_threads = 1
    parameters.use_jinja = True
    parameters.warmup = False
    server = xllamacpp.Server(parameters)
    print("LISTEN", server.listening_address, flush=True)  # noqa: T201 (the parent process reads it)
    sys.stdin.read()


if __name__ == "__main__":
    main()
