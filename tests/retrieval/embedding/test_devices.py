from __future__ import annotations

from typing import Any

import numpy as np
import onnxruntime
import pytest

from headwater_server.retrieval.embedding import EmbedderUnavailable, MiniLmEmbedder
from headwater_server.retrieval.embedding.devices import open_session, resolved

CUDA, CPU = "CUDAExecutionProvider", "CPUExecutionProvider"


class Runtime:
    """Stands in for an ONNX Runtime with CUDA, whose libraries may be missing."""

    def __init__(self, *available: str, usable: bool = True) -> None:
        self._available = list(available)
        self._usable = usable
        self.asked: list[list[str]] = []

    def get_available_providers(self) -> list[str]:
        return self._available

    def InferenceSession(self, *_: object, providers: list[str]) -> Any:  # noqa: N802 (its own name)
        self.asked.append(providers)
        used = [name for name in providers if name != CUDA or self._usable]

        class Session:
            def get_providers(self) -> list[str]:
                return used

        return Session()


def test_auto_takes_a_gpu_where_there_is_one() -> None:
    assert resolved("auto", runtime=Runtime(CUDA, CPU)) == "cuda"
    assert resolved("auto", runtime=Runtime(CPU)) == "cpu"
    assert resolved("auto") in {"cpu", "cuda"}
    assert resolved("cuda") == "cuda"  # whatever there is: who asks for it is told


def test_a_gpu_is_asked_for_with_the_cpu_for_what_it_cannot_do() -> None:
    runtime = Runtime(CUDA, CPU)
    assert open_session(runtime, b"", None, device="cuda").get_providers() == [CUDA, CPU]
    assert runtime.asked == [[CUDA, CPU]]


def test_the_cpu_is_used_alone_where_it_was_asked_for() -> None:
    runtime = Runtime(CUDA, CPU)
    open_session(runtime, b"", None, device="cpu")
    assert runtime.asked == [[CPU]]


@pytest.mark.parametrize("runtime", [Runtime(CPU), Runtime(CUDA, CPU, usable=False)])
def test_a_gpu_that_cannot_be_used_is_an_error_that_says_what_to_do(runtime: Runtime) -> None:
    with pytest.raises(EmbedderUnavailable, match=r"pip install 'headwater\[gpu\]'"):
        open_session(runtime, b"", None, device="cuda")


def test_auto_gives_way_to_the_cpu_where_the_gpu_cannot_be_used_after_all() -> None:
    assert open_session(Runtime(CUDA, CPU, usable=False), b"", None, device="auto").get_providers() == [CPU]


@pytest.mark.skipif(CUDA in onnxruntime.get_available_providers(), reason="this ONNX Runtime has CUDA")
def test_this_machine_says_that_it_has_no_gpu() -> None:
    with pytest.raises(EmbedderUnavailable, match="built without it"):
        MiniLmEmbedder(device="cuda")
    auto = MiniLmEmbedder(device="auto")
    assert np.array_equal(auto.embed_query("hello"), MiniLmEmbedder().embed_query("hello"))
    assert auto.fingerprint == MiniLmEmbedder().fingerprint
