"""A reranker on this machine: a cross-encoder that its user has, as ONNX.

Its folder is as Hugging Face's Optimum exports it: `model.onnx` (or `onnx/model.onnx`) and `tokenizer.json`.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from anyio import CapacityLimiter, Lock, to_thread

from headwater_server.retrieval.onnx import load_runtime
from headwater_server.retrieval.ranking.errors import RerankerUnavailable

MAX_TOKENS = 512
"""Of question and passage together; what most such models read. More of the passage is left out."""
_BATCH = 8  # passages between two moments at which a call may be cancelled


class CrossEncoder:
    """Reads question and passage together; implements `Reranker`. Loaded by the first call.

    A model with one output a pair gives that as the score; one with several gives the last, "relevant".

    Args:
        name: `provider/model`.
        folder: Where the model is.
    """

    def __init__(self, name: str, folder: Path) -> None:
        self._name = name
        self._folder = folder
        self._loading = Lock()
        self._one_at_a_time = CapacityLimiter(1)
        self._model: _Model | None = None

    @property
    def name(self) -> str:
        """See `Reranker`."""
        return self._name

    async def rerank(self, query: str, passages: Sequence[str]) -> Sequence[float]:
        """See `Reranker`."""
        model = await self._load()
        scores: list[float] = []
        for start in range(0, len(passages), _BATCH):
            part = passages[start : start + _BATCH]
            scores += await to_thread.run_sync(model.scores, query, part, limiter=self._one_at_a_time)
        return scores

    async def aclose(self) -> None:
        """Forgets the model."""
        self._model = None

    async def _load(self) -> _Model:
        async with self._loading:
            if self._model is None:
                self._model = await to_thread.run_sync(_Model, self._folder)
            return self._model


class _Model:
    """The loaded model. Not for the event loop's thread."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        try:
            runtime = load_runtime()
            from tokenizers import Tokenizer  # noqa: PLC0415 (only who has such a model needs it)
        except ImportError as error:
            raise RerankerUnavailable(f"a cross-encoder needs {error.name}: pip install 'headwater[serve]'") from error
        model = next((path for path in (folder / "model.onnx", folder / "onnx/model.onnx") if path.is_file()), None)
        if model is None or not (folder / "tokenizer.json").is_file():
            raise RerankerUnavailable(f"{folder} has no model.onnx with a tokenizer.json")
        options = runtime.SessionOptions()
        options.log_severity_level = 3  # errors only: its warnings go straight to stderr, past our log
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")  # waiting threads would burn CPU
        try:
            self._tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
            self._session = runtime.InferenceSession(str(model), options, providers=["CPUExecutionProvider"])
        except Exception as error:  # both libraries raise bare Exceptions for files that they cannot read
            raise RerankerUnavailable(f"the model in {folder} cannot be loaded: {error}") from error
        self._tokenizer.enable_padding()
        self._tokenizer.enable_truncation(MAX_TOKENS)
        self._inputs = {each.name for each in self._session.get_inputs()}

    def scores(self, query: str, passages: Sequence[str]) -> list[float]:
        """The scores of some passages.

        Raises:
            RerankerUnavailable: The model fails, or gives what are no scores.
        """
        try:
            logits = self._logits(query, passages)
        except Exception as error:  # both libraries raise bare Exceptions for what a model does not take
            raise RerankerUnavailable(f"the model in {self._folder} fails: {error}") from error
        if not np.isfinite(logits).all():
            raise RerankerUnavailable(f"the model in {self._folder} gives scores that are no finite numbers")
        return [float(score) for score in logits]

    def _logits(self, query: str, passages: Sequence[str]) -> npt.NDArray[np.float64]:
        encodings = self._tokenizer.encode_batch([(query, passage) for passage in passages])
        columns: dict[str, npt.NDArray[np.int64]] = {
            "input_ids": np.array([each.ids for each in encodings], dtype=np.int64),
            "attention_mask": np.array([each.attention_mask for each in encodings], dtype=np.int64),
            "token_type_ids": np.array([each.type_ids for each in encodings], dtype=np.int64),
        }
        given: dict[str, Any] = {name: column for name, column in columns.items() if name in self._inputs}
        logits = np.asarray(self._session.run(None, given)[0], dtype=np.float64).reshape(len(passages), -1)
        return logits[:, -1]
