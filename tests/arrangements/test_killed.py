"""What a server that is killed in the middle of an import has promised by then."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from headwater import CallError, Client, ImportProgress
from tests.arrangements.process_tree import kill_tree
from tests.arrangements.texts import long_text
from tests.serving import TIME_LIMIT_S, serving

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="finds a server's processes by way of /proc")

MOMENTS: dict[str, Callable[[ImportProgress], bool]] = {
    "durable": lambda progress: progress.stage == "received",
    "split": lambda progress: progress.stage == "split",
    "embedding": lambda progress: 0 < progress.embedded_passages < progress.passage_count,
}


def test_a_document_whose_bytes_were_durable_outlives_every_process(tmp_path: Path) -> None:
    folder = tmp_path / "data"
    texts = {name: long_text(40_000, about=name) for name in MOMENTS}
    for name, is_moment in MOMENTS.items():
        with serving(folder) as server, Client(server.target) as client:
            _ready_as_uploaded(client, texts, until=name)
            reached: list[ImportProgress] = []

            def kill(
                progress: ImportProgress,
                *,
                is_moment: Callable[[ImportProgress], bool] = is_moment,
                reached: list[ImportProgress] = reached,
                pid: int = server.process.pid,
            ) -> None:
                if not reached and is_moment(progress):
                    reached.append(progress)
                    kill_tree(pid)

            with pytest.raises(CallError):
                client.documents.import_file(
                    texts[name], document_id=name, media_type="text/plain", on_progress=kill, timeout=TIME_LIMIT_S
                )
            (progress,) = reached
            assert progress.committed_bytes == len(texts[name])
            server.process.wait(timeout=TIME_LIMIT_S)
    with serving(folder) as server, Client(server.target) as client:
        _ready_as_uploaded(client, texts, until=None)


def _ready_as_uploaded(client: Client, texts: dict[str, bytes], *, until: str | None) -> None:
    """Waits for the documents before `until`, which nobody imports again, and finds what they say."""
    for name, text in texts.items():
        if name == until:
            return
        document = client.documents.watch(name, corpus="default", timeout=TIME_LIMIT_S)
        assert document.passage_count > 1
        assert client.documents.download(name, corpus="default") == text
        answer = client.answer(f"Where was the secret of {name} hidden?")
        assert "lighthouse of Kampen" in str(answer)
        assert any(source.document.endswith(f"/{name}") for source in answer.sources)
