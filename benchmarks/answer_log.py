"""What it costs that every event is logged before it is sent, and what it costs to resume.

    python -m benchmarks.answer_log [--answers 64] [--events 200] [--rounds 5]

Appending: so many answers at once, each with one event of 16 bytes of text every 20 ms, through the log and nothing
else. The answers take their turns, so that the logs are compared in the same minutes. "latency" is the time from the
call to its return, "CPU" that of the process (user and system) for each event, less what the same loop costs where
nothing is logged.

Resuming: an answer of 2,000 events (32 KiB of text), as the orchestrator gives it to a reader who has half of them, who
has none, and who asks for a snapshot; CPU of the process for each, without the network.
"""

from __future__ import annotations

import argparse
import asyncio
import tempfile
import time
from collections import defaultdict
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from statistics import median, quantiles
from uuid import uuid4

from headwater.v1 import answer_pb2
from headwater.v1.answer_pb2 import AnswerChunk
from headwater.v1.answer_service_pb2 import StreamAnswerRequest
from headwater.v1.source_pb2 import RetrievalStatistics
from headwater_server.orchestrator.answer_log.embedded import EmbeddedAnswerLog
from headwater_server.orchestrator.answer_log.memory import MemoryAnswerLog
from headwater_server.orchestrator.answer_log.protocol import AnswerLog, AnswerWriter, NewAnswer
from headwater_server.orchestrator.reading import replay
from headwater_server.orchestrator.transcript import Transcript, header

PACE = 0.02
LONG = 2_000
KEEP = 3600.0
Append = Callable[[Sequence[bytes]], Awaitable[None]]


@asynccontextmanager
async def opened(kind: str) -> AsyncIterator[AnswerLog | None]:
    """A log of a kind, in a folder of its own; None for no log."""
    with tempfile.TemporaryDirectory(prefix="answer-log-") as folder:
        match kind:
            case "no log":
                yield None
            case "memory":
                async with MemoryAnswerLog.open(max_bytes=1024**3) as memory:
                    yield memory
            case _:
                async with EmbeddedAnswerLog.open(Path(folder), sync=kind == "files, fsync") as files:
                    yield files


async def begin(log: AnswerLog) -> AnswerWriter:
    """A new answer in a log."""
    request = StreamAnswerRequest(prompt="What?").SerializeToString()
    name = f"answers/{uuid4().hex}"
    return await log.begin(NewAnswer(name=name, tenant="", request=request, created=time.time(), request_id=""))


async def paced(append: Append, *, events: int, offset: float, latencies: list[float]) -> None:
    """Appends events at the pace of a model, and notes how long each took."""
    loop = asyncio.get_running_loop()
    start = loop.time() + offset
    for number in range(events):
        await asyncio.sleep(max(0.0, start + number * PACE - loop.time()))
        text = answer_pb2.TextDelta(text="sixteen letters.", offset_bytes=16 * number)
        event = AnswerChunk(sequence=number + 1, text=text).SerializeToString()
        before = time.perf_counter()
        await append([event])
        latencies.append(time.perf_counter() - before)


async def appending(kind: str, *, answers: int, events: int) -> tuple[float, list[float]]:
    """CPU seconds of a run, and the latency of each append, in seconds."""

    async def nothing(_: Sequence[bytes]) -> None:
        return

    latencies: list[float] = []
    async with opened(kind) as log:
        writers = [await begin(log) for _ in range(answers)] if log is not None else []
        appends: list[Append] = [writer.append for writer in writers] or [nothing] * answers
        before = time.process_time()
        async with asyncio.TaskGroup() as tasks:
            for number, append in enumerate(appends):
                tasks.create_task(paced(append, events=events, offset=PACE * number / answers, latencies=latencies))
        cpu = time.process_time() - before
        for writer in writers:
            writer.close()
    return cpu, latencies


def compare_logs(*, answers: int, events: int, rounds: int) -> None:
    """Prints the table of appending."""
    kinds = ("no log", "memory", "files", "files, fsync")
    cpu: dict[str, list[float]] = defaultdict(list)
    latencies: dict[str, list[float]] = defaultdict(list)
    for _ in range(rounds):
        for kind in kinds:
            seconds, measured = asyncio.run(appending(kind, answers=answers, events=events))
            cpu[kind].append(seconds / (answers * events) * 1e6)
            latencies[kind] += measured
    print("| log | CPU µs an event, over no log | latency µs, p50 | p99 |")
    print("|---|---|---|---|")
    floor = median(cpu["no log"])
    for kind in kinds[1:]:
        cuts = quantiles(latencies[kind], n=100)
        print(f"| {kind} | {median(cpu[kind]) - floor:.1f} | {cuts[49] * 1e6:.0f} | {cuts[98] * 1e6:.0f} |")


async def long_answer(log: AnswerLog) -> str:
    """Logs an answer of many events to its end, and returns its name."""
    writer = await begin(log)
    transcript = Transcript(header(name=writer.name, request_id="", prompt="What?", labels={}, created_at=time.time()))
    chunks = [transcript.add_started("assistants/builtin/extractive")]
    chunks += transcript.add_retrieved([], RetrievalStatistics())
    chunks += [transcript.add_text("sixteen letters.") for _ in range(LONG)]
    ending = answer_pb2.Answer(state=answer_pb2.ANSWER_STATE_SUCCEEDED, finish_reason=answer_pb2.FINISH_REASON_STOP)
    chunks.append(transcript.add_answer(ending))
    for chunk in chunks:
        await writer.append([chunk.SerializeToString()])
    terminal = chunks[-1].answer
    await writer.seal(terminal.SerializeToString(), state=terminal.state, expires=time.time() + KEEP)
    writer.close()
    return writer.name


async def compare_resuming(rounds: int) -> None:
    """Prints the table of resuming."""
    print("| the reader has | events replayed | CPU ms | CPU µs an event |")
    print("|---|---|---|---|")
    async with opened("files") as log:
        if log is None:
            raise AssertionError("files are a log")
        name = await long_answer(log)
        record = await log.find(name)
        if record is None:
            raise AssertionError("an answer that was just sealed is kept")
        for title, after in (("nothing", 0), ("half", LONG // 2), ("its text, and takes a snapshot", None)):
            seconds: list[float] = []
            events = 0
            for _ in range(rounds * 4):
                before = time.process_time()
                events = len([chunk.SerializeToString() async for chunk in replay(record, after=after, answer_log=log)])
                seconds.append(time.process_time() - before)
            cpu = median(seconds)
            print(f"| {title} | {events:,} | {cpu * 1e3:.1f} | {cpu / events * 1e6:.1f} |")


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.answer_log", description="Measure the answer log.")
    parser.add_argument("--answers", type=int, default=64, help="how many at once")
    parser.add_argument("--events", type=int, default=200, help="how many each has")
    parser.add_argument("--rounds", type=int, default=5, help="how often; the median counts")
    options = parser.parse_args()
    compare_logs(answers=options.answers, events=options.events, rounds=options.rounds)
    print()
    asyncio.run(compare_resuming(options.rounds))


if __name__ == "__main__":
    main()
