"""Streams recorded from real providers, replayed over loopback in every harmless shape and cut in harmful ones."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from headwater.v1 import answer_pb2
from headwater_server.errors import Reason, ServiceError
from tests.assistant.asking import Heard, a_request, ask
from tests.assistant.cores import core_at

pytestmark = pytest.mark.anyio

SHARED = Path(os.environ.get("HEADWATER_SHARED", Path(__file__).parents[3] / "shared"))
MANIFEST = SHARED / "data/streams/manifest.json"

SHAPES = [
    "split=event",
    "split=byte",
    "split=utf8,eol=crlf",
    "split=random,seed=3,eol=cr",
    "split=line,ka=1",
    "split=whole,bom=1,nospace=1",
    "split=random,seed=5,multi=1,ka=2",
    "split=event,gzip=1",
    "split=whole,te=length",
    "split=random,max=400,te=close",
]
FINISH = {"stop": answer_pb2.FINISH_REASON_STOP, "length": answer_pb2.FINISH_REASON_MAX_TOKENS}


def recorded() -> list[Any]:
    """The recordings of this protocol; Mistral's stream is the same."""
    if not MANIFEST.exists():
        return []
    streams = json.loads(MANIFEST.read_text(encoding="utf-8"))
    chats = [stream for stream in streams if stream["protocol"] in {"openai-chat", "mistral"}]
    return [pytest.param(stream, id=stream["file"].removesuffix(".sse")) for stream in chats]


def with_text() -> list[Any]:
    return [case for case in recorded() if not case.values[0]["expected"]["tool_calls"]]


@pytest.fixture(scope="module")
def replay() -> Iterator[str]:
    if not MANIFEST.exists():
        if os.environ.get("CI"):
            pytest.fail(f"{MANIFEST} is not there; HEADWATER_SHARED says where the shared data are")
        pytest.skip(f"needs the recorded streams, which are not in the repository ({MANIFEST})")
    command = [sys.executable, str(SHARED / "tools/replay.py"), "--dir", str(MANIFEST.parent)]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
        assert process.stdout
        yield process.stdout.readline().decode().split()[1]
        process.kill()


def test_there_are_recordings_to_replay(replay: str) -> None:
    assert replay
    assert len(with_text()) > 10


async def heard_from(replay: str, stream: dict[str, Any], shape: str, heard: Heard | None = None) -> Heard:
    url = f"{replay}/c/{stream['file'].removesuffix('.sse')},{shape}/v1"
    async with core_at(url) as core:
        return await ask(core, a_request("Hello?", assistant="fake/cassette"), heard)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("stream", with_text())
async def test_every_harmless_shape_of_a_recording_reads_as_the_manifest_says(
    replay: str, stream: dict[str, Any], shape: str
) -> None:
    heard = await heard_from(replay, stream, shape)
    expected = stream["expected"]
    assert heard.text == expected["text"]
    assert heard.reasoning == expected["reasoning"]
    assert heard.answer.finish_reason == FINISH[expected["finish"]]
    usage = heard.answer.usage
    if expected["usage"] is None:
        assert usage.origin == answer_pb2.USAGE_ORIGIN_ESTIMATED
    else:
        assert usage.origin == answer_pb2.USAGE_ORIGIN_REPORTED
        assert (usage.input_tokens, usage.output_tokens) == (expected["usage"]["in"], expected["usage"]["out"])


@pytest.mark.parametrize("cut", ["0", "1", "25%", "50%", "75%", "97%"])
@pytest.mark.parametrize("mode", ["fin", "eof", "rst"])
@pytest.mark.parametrize("stream", with_text())
async def test_a_recording_that_is_cut_never_ends_as_an_answer(
    replay: str, stream: dict[str, Any], cut: str, mode: str
) -> None:
    heard = Heard()
    with pytest.raises(ServiceError) as raised:
        await heard_from(replay, stream, f"split=random,max=300,cut={cut},cutmode={mode}", heard)
    assert raised.value.reason in {Reason.PROVIDER_TRUNCATED, Reason.PROVIDER_UNAVAILABLE}
    assert stream["expected"]["text"].startswith(heard.text)
    assert not heard.answer.finish_reason


@pytest.mark.parametrize("stream", with_text())
async def test_each_of_the_last_bytes_is_needed(replay: str, stream: dict[str, Any]) -> None:
    body = (MANIFEST.parent / stream["file"]).read_bytes().rstrip(b"\n")
    for missing in range(len(b"data: [DONE]") + 1):
        with pytest.raises(ServiceError) as raised:
            await heard_from(replay, stream, f"split=whole,cut={len(body) - missing}")
        assert raised.value.reason is Reason.PROVIDER_TRUNCATED


@pytest.mark.parametrize("stream", with_text())
async def test_without_its_end_marker_a_recording_is_truncated(replay: str, stream: dict[str, Any]) -> None:
    with pytest.raises(ServiceError) as raised:
        await heard_from(replay, stream, "nodone=1")
    assert raised.value.reason is Reason.PROVIDER_TRUNCATED


@pytest.mark.parametrize("stream", [case for case in recorded() if case.values[0]["expected"]["tool_calls"]])
async def test_a_call_of_a_tool_that_was_not_offered_is_refused(replay: str, stream: dict[str, Any]) -> None:
    with pytest.raises(ServiceError) as raised:
        await heard_from(replay, stream, "split=event")
    assert raised.value.reason is Reason.PROVIDER_PROTOCOL
    assert "tool" in raised.value.message


async def test_a_status_in_place_of_a_recording_has_its_reason(replay: str) -> None:
    stream = with_text()[0].values[0]
    for status, reason in (
        (429, Reason.PROVIDER_RATE_LIMITED),
        (500, Reason.PROVIDER_UNAVAILABLE),
        (401, Reason.PROVIDER_UNAUTHENTICATED),
    ):
        with pytest.raises(ServiceError) as raised:
            await heard_from(replay, stream, f"status={status},retry=3")
        assert raised.value.reason is reason
