"""What an import does to the answers that stream meanwhile."""

from __future__ import annotations

from pathlib import Path

import anyio
import pytest

from headwater import AsyncClient, FinishReason, ImportProgress
from headwater.v1 import document_pb2
from tests.arrangements.model_server import STEADY_WORDS, ModelServer
from tests.arrangements.processes import TOKEN, serving, write_settings
from tests.arrangements.texts import long_text
from tests.orchestrator.rules import assert_rules

pytestmark = pytest.mark.anyio

LARGE_BYTES = 1_000_000
WAIT_SECONDS = 60


async def test_a_streaming_answer_never_stutters_because_a_document_is_imported(
    tmp_path: Path, model: ModelServer
) -> None:
    write_settings(tmp_path, model)
    under_way = anyio.Event()

    def note(progress: ImportProgress) -> None:
        if progress.embedded_passages:
            under_way.set()

    with serving("all", tmp_path) as server:
        async with AsyncClient(server.address, token=TOKEN) as client, anyio.create_task_group() as tasks:

            async def import_large() -> None:
                text = long_text(LARGE_BYTES, about="size")
                await client.documents.import_file(text, document_id="large", media_type="text/plain", on_progress=note)

            tasks.start_soon(import_large)
            with anyio.fail_after(WAIT_SECONDS):
                await under_way.wait()
                answer = client.answer("Why?", grounded=False, assistant="scripted/steady")
                chunks, behind, messages, read = [], 0, 0, 0
                async for chunk in answer.chunks():
                    chunks.append(chunk)
                    if chunk.HasField("text"):
                        messages += 1
                        read += chunk.text.text.count(" ")
                        behind = max(behind, model.steady_words_sent - read)
                document = await client.documents.get("large", corpus="default")
            assert document.state == document_pb2.DOCUMENT_STATE_PROCESSING, "the answer ends before the import"
            assert assert_rules(chunks).text.split() == "".join(STEADY_WORDS).split()
            assert answer.finish_reason is FinishReason.STOP
            assert messages > len(STEADY_WORDS) // 2, "words come one by one, not in heaps"
            assert behind < len(STEADY_WORDS) // 2, "the reader is never far behind the model"
            tasks.cancel_scope.cancel()
