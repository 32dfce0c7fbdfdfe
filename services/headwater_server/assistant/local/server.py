"""The process that has one model in memory: llama.cpp's own server, on a port that only its parent knows the key to.

It is a process of its own so that a model that aborts, or that computes for minutes, disturbs nothing else; and it
speaks HTTP because that is llama.cpp's most used surface, with its batching, its slots and its chat templates.

    python -m headwater_server.assistant.local.server PARENT    (its parent's process id)

Standard input: one line of JSON, `Order`. Standard output: one line of JSON, `{"address": …}` or `{"error": …}`.
It ends when its standard input does.
"""

from __future__ import annotations

import json
import os
import sys
from typing import Any, TextIO

from headwater_server.assistant.local.order import Order
from headwater_server.parent import end_with


def main() -> None:
    """Loads the model, says where it is served, and serves it until nobody wants it any more."""
    end_with(int(sys.argv[1]))
    answer = _own_output()
    order = Order(**json.loads(sys.stdin.buffer.readline()))
    try:
        import xllamacpp  # type: ignore[import-untyped]  # noqa: PLC0415 (an extra; it ships no types)
    except ImportError as error:
        _say(answer, error=f"xllamacpp cannot be imported ({error}): install 'headwater[local]'")
        return
    try:
        server = xllamacpp.Server(_parameters(xllamacpp.CommonParams(), order))
    except Exception as error:  # whatever it is, the parent is told
        _say(answer, error=str(error) or type(error).__name__)
        return
    _say(answer, address=server.listening_address)
    sys.stdin.buffer.read()


def _parameters(parameters: Any, order: Order) -> Any:  # xllamacpp ships no types
    parameters.model.path = order.path
    parameters.hostnames = ["127.0.0.1"]
    parameters.port = 0
    parameters.api_keys = [order.api_key]
    parameters.n_ctx = order.context * order.parallel  # llama.cpp divides it among the slots
    parameters.n_parallel = order.parallel
    parameters.use_jinja = True
    parameters.offline = True
    parameters.endpoint_slots = False
    parameters.ui = False
    if order.threads:
        parameters.cpuparams.n_threads = order.threads
    if order.gpu_layers:
        parameters.n_gpu_layers = order.gpu_layers
    return parameters


def _own_output() -> TextIO:
    """Standard output, which from here on only this module has: what llama.cpp prints goes nowhere."""
    own = os.dup(1)
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 1)
    os.close(nowhere)
    return os.fdopen(own, "w", encoding="utf-8")


def _say(answer: TextIO, **document: str) -> None:
    answer.write(json.dumps(document) + "\n")
    answer.flush()


if __name__ == "__main__":
    main()
