"""The parent with real processes, small ones: assistant services."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import AsyncIterator, MutableMapping
from pathlib import Path
from typing import Any

import anyio
import pytest
import structlog

from headwater_server.runtime.processes.patience import Patience
from headwater_server.runtime.processes.place import Place
from headwater_server.runtime.processes.port import kept_port
from headwater_server.runtime.processes.supervisor import Family, ProcessDiesError
from headwater_server.runtime.settings import AssistantSettings, Settings, SettingsError

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.skipif(sys.platform != "linux", reason="spreads connections over processes, as only Linux does"),
]

WAIT_SECONDS = 120
QUICK = Patience(first_pause=0.01, longest_pause=0.01, settled=600, most_deaths=2)
ONE = [Place("assistant-1", "assistant")]


async def signals(asked: anyio.Event) -> AsyncIterator[signal.Signals]:
    """SIGTERM once it is asked for, and nothing after it."""
    await asked.wait()
    yield signal.SIGTERM
    await anyio.sleep_forever()


def nothing() -> None:
    """What is done when all are ready."""


async def kill_whenever_ready(events: list[MutableMapping[str, Any]]) -> None:
    killed: set[int] = set()
    while True:
        for event in list(events):
            if event["event"] == "process.ready" and event["pid"] not in killed:
                killed.add(event["pid"])
                os.kill(event["pid"], signal.SIGKILL)
        await anyio.sleep(0.01)


async def run_until_given_up(settings: Settings, events: list[MutableMapping[str, Any]]) -> None:
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(kill_whenever_ready, events)
        await Family(settings, ONE, held=[], patience=QUICK).run(signals(anyio.Event()), ready=nothing)


async def test_a_process_that_dies_again_and_again_ends_the_server_with_its_name(tmp_path: Path) -> None:
    with (
        structlog.testing.capture_logs() as events,
        kept_port("127.0.0.1:0") as address,
        anyio.fail_after(WAIT_SECONDS),
        pytest.raises(ExceptionGroup) as caught,
    ):
        await run_until_given_up(Settings(address=address, data_dir=tmp_path), events)
    assert caught.group_contains(
        ProcessDiesError, match="assistant-1 has died 3 times in a row, the last time with SIGK"
    )
    assert [event["status"] for event in events if event["event"] == "process.died"] == ["SIGKILL"] * 2


async def test_a_process_that_cannot_begin_ends_the_server_at_once_with_its_reason(tmp_path: Path) -> None:
    strange = {"near": AssistantSettings(api="nonsense", models=("m",))}
    with kept_port("127.0.0.1:0") as address, anyio.fail_after(WAIT_SECONDS):
        family = Family(Settings(address=address, data_dir=tmp_path, assistants=strange), ONE, held=[])
        with pytest.raises(ExceptionGroup) as caught:
            await family.run(signals(anyio.Event()), ready=nothing)
    assert caught.group_contains(SettingsError, match="nonsense")


async def test_a_signal_stops_all_in_order(tmp_path: Path) -> None:
    asked = anyio.Event()
    with (
        structlog.testing.capture_logs() as events,
        kept_port("127.0.0.1:0") as address,
        anyio.fail_after(WAIT_SECONDS),
    ):
        places = [Place(f"assistant-{number}", "assistant") for number in (1, 2)]
        family = Family(Settings(address=address, data_dir=tmp_path), places, held=[])
        assert await family.run(signals(asked), ready=asked.set) is signal.SIGTERM
    assert sorted(event["name"] for event in events if event["event"] == "process.ready") == [
        "assistant-1",
        "assistant-2",
    ]
    assert not [event for event in events if event["log_level"] == "error"]
    for event in events:
        if event["event"] == "process.ready":
            with pytest.raises(ProcessLookupError):
                os.kill(event["pid"], 0)
