"""A process with a model in memory, in the hands of its provider."""

from __future__ import annotations

import json
import os
import secrets
import subprocess
import sys
from pathlib import Path

import anyio
import structlog
from anyio.abc import Process
from anyio.streams.buffered import BufferedByteReceiveStream

from headwater_server.assistant.local.config import LocalOptions
from headwater_server.assistant.local.order import Order
from headwater_server.assistant.openai_chat import ChatProvider
from headwater_server.assistant.protocol import Assistant, ProviderSettings
from headwater_server.errors import Reason, ServiceError
from headwater_server.outgoing.provider_errors import ProviderErrors
from headwater_server.parent import environment

log = structlog.get_logger("headwater.assistants")

_MAX_LINE = 64 * 1024
_END_SECONDS = 5.0
_DYING_SECONDS = 1.0
_OF_ACCELERATORS = r"(CUDA|NVIDIA|HIP|ROCR|HSA|GGML|VK)_\w+"


class LoadedModel:
    """A model in memory; made by `load`.

    Args:
        model: Its id.
        process: The process that has it.
        chat: The provider that speaks to that process.
    """

    def __init__(self, model: str, process: Process, chat: ChatProvider) -> None:
        self._process = process
        self._chat = chat
        self.assistant: Assistant = chat.assistant(model)
        self.answers = 0
        """How many answers it is writing, or has waiting."""

    @property
    def alive(self) -> bool:
        """Whether its process still runs."""
        return self._process.returncode is None

    async def dies(self) -> bool:
        """Whether its process has ended, or does so within a moment."""
        with anyio.move_on_after(_DYING_SECONDS):
            await self._process.wait()
        return not self.alive

    async def close(self) -> None:
        """Ends the process, and waits until it has ended."""
        with anyio.CancelScope(shield=True):
            await self._chat.aclose()
            await _end(self._process)


async def load(
    model: str, path: Path, options: LocalOptions, settings: ProviderSettings, *, context: int
) -> LoadedModel:
    """Starts a process, and returns once it has the model in memory.

    Raises:
        ServiceError: It is no model that can be loaded (PROVIDER_REJECTED); its process died, or was too slow
            (PROVIDER_UNAVAILABLE).
    """
    errors = ProviderErrors(settings.name)
    order = Order(
        path=str(path),
        api_key=secrets.token_urlsafe(32),
        context=context,
        parallel=options.parallel,
        threads=options.threads,
        gpu_layers=options.gpu_layers,
    )
    command = [sys.executable, "-P", "-m", "headwater_server.assistant.local.server", str(os.getpid())]
    # Shielded: a process that was started and not returned would be nobody's to end.
    with anyio.CancelScope(shield=True):
        process = await anyio.open_process(
            command,
            env=environment(also=_OF_ACCELERATORS),
            stderr=subprocess.DEVNULL,  # llama.cpp writes pages to it, and has said what matters in its exception
            start_new_session=True,
        )
    try:
        with anyio.fail_after(options.load_seconds):
            said = await _exchange(process, order)
        address = said["address"]
    except BaseException as error:
        with anyio.CancelScope(shield=True):
            await _end(process)
        if isinstance(error, TimeoutError):
            raise errors.unavailable(f"{model} was not loaded within {options.load_seconds:g} s") from None
        if isinstance(error, KeyError):
            raise _not_loaded(errors, settings.name, model, said.get("error")) from None
        raise
    log.info("local_model.loaded", provider=settings.name, model=model)
    chat = ChatProvider(
        ProviderSettings(
            name=settings.name,
            base_url=f"{address}/v1",
            api_key=order.api_key,
            context_tokens=context,
            max_output_tokens=settings.max_output_tokens,
            connect_timeout=settings.connect_timeout,
            read_timeout=settings.read_timeout,
        )
    )
    return LoadedModel(model, process, chat)


def _not_loaded(errors: ProviderErrors, provider: str, model: str, said: str | None) -> ServiceError:
    """Why there is no model: what its process says will be so the next time as well; a death may not."""
    if said is None:
        return errors.unavailable(f"{model} cannot be loaded: its process died")
    message = f"{model} cannot be loaded by {provider}: {errors.cleaned(said)}"
    return ServiceError(Reason.PROVIDER_REJECTED, message, metadata={"provider": provider})


async def _exchange(process: Process, order: Order) -> dict[str, str]:
    """Gives the order, and returns what the process says to it; nothing where it died, or said nothing of sense."""
    if process.stdin is None or process.stdout is None:
        raise AssertionError("both are pipes")
    try:
        await process.stdin.send(order.encode())
        line = await BufferedByteReceiveStream(process.stdout).receive_until(b"\n", _MAX_LINE)
        said = json.loads(line)
    except (anyio.IncompleteRead, anyio.EndOfStream, anyio.BrokenResourceError, anyio.DelimiterNotFound, ValueError):
        return {}
    return {str(key): str(value) for key, value in said.items()} if isinstance(said, dict) else {}


async def _end(process: Process) -> None:
    """Ends a process: politely first, as it may be in the middle of freeing a GPU's memory."""
    if process.stdin is not None:
        await process.stdin.aclose()
    with anyio.move_on_after(_END_SECONDS):
        await process.wait()
    if process.returncode is None:
        process.kill()
    await process.aclose()
