"""What ONNX Runtime runs a model on."""

from __future__ import annotations

from typing import Any, Literal

from headwater_server.retrieval.embedding.config import Device
from headwater_server.retrieval.embedding.errors import EmbedderUnavailable
from headwater_server.retrieval.onnx import load_runtime

_CUDA = "CUDAExecutionProvider"
_CPU = "CPUExecutionProvider"
_ADVICE = (
    "pip uninstall onnxruntime, pip install 'headwater[gpu]', and see to it that NVIDIA's driver, CUDA and cuDNN are"
    " installed; or set retrieval.device to cpu"
)


def resolved(device: Device, *, runtime: Any = None) -> Literal["cpu", "cuda"]:
    """What a device comes to on this machine.

    Args:
        device: The setting.
        runtime: The module `onnxruntime`; imported if not given and needed.
    """
    if device != "auto":
        return device
    if runtime is None:
        try:
            runtime = load_runtime()
        except ImportError:
            return "cpu"
    return "cuda" if _CUDA in runtime.get_available_providers() else "cpu"


def open_session(runtime: Any, model: bytes, options: Any, *, device: Device) -> Any:
    """Opens a model.

    Args:
        runtime: The module `onnxruntime`.
        model: The graph.
        options: Its `SessionOptions`.
        device: What to run on. With `auto` a GPU that cannot be used after all gives way to the CPU.

    Raises:
        EmbedderUnavailable: `device` is `cuda`, and no GPU can be used.
    """
    if resolved(device, runtime=runtime) == "cpu":
        return runtime.InferenceSession(model, options, providers=[_CPU])
    if _CUDA not in runtime.get_available_providers():
        raise EmbedderUnavailable(f"retrieval.device is cuda, and this ONNX Runtime was built without it: {_ADVICE}")
    session = runtime.InferenceSession(model, options, providers=[_CUDA, _CPU])
    # It says nothing where CUDA's libraries cannot be loaded, and runs all on the CPU.
    if _CUDA not in session.get_providers() and device == "cuda":
        raise EmbedderUnavailable(f"retrieval.device is cuda, and ONNX Runtime cannot use the GPU: {_ADVICE}")
    return session
