"""What asks the servers in the benchmarks believes none of them: every token counts, and so does the end."""

from __future__ import annotations

import json
import shutil
import subprocess
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from benchmarks.relay.stage import BINARIES, Load, Stage, build, staged
from benchmarks.relay.variants import Variant, commands

pytestmark = pytest.mark.skipif(shutil.which("go") is None, reason="the load is a program in Go, which is not here")

TOKENS = 3
DIGITS = "0123456789abcdefghijklmnopqrstuvwxyz"


@pytest.fixture(scope="module", autouse=True)
def programs() -> None:
    build()


def token(number: int) -> str:
    """A token as the fake upstream says it, sent now."""
    left, sent = time.time_ns() // 1000, ""
    while left:
        left, digit = divmod(left, 36)
        sent = DIGITS[digit] + sent
    return f" {number:05d}{sent.rjust(10, '0')}"


def ragna(text: str) -> str:
    return json.dumps({"content": text, "role": "assistant", "sources": []})


def openai(text: str) -> str:
    return json.dumps({"choices": [{"index": 0, "delta": {"content": text}, "finish_reason": None}]})


@contextmanager
def saying(events: Sequence[str]) -> Iterator[str]:
    """A server that answers each POST with these events; gives its address."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            self.send_response(200)
            self.end_headers()
            for event in events:
                self.wfile.write(f"data: {event}\n\n".encode())

        def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 (the base class calls it that)
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=[0.01])
        thread.start()
        try:
            yield f"127.0.0.1:{server.server_address[1]}"
        finally:
            server.shutdown()
            thread.join()


def asked(target: str, form: str) -> dict[str, Any]:
    """What two streams brought."""
    flags = [f"-target={target}", f"-form={form}", f"-tokens={TOKENS}", "-streams=2", "-spread=0s", "-model=fake/it"]
    done = subprocess.run([BINARIES / "load", *flags], capture_output=True, check=True, text=True, timeout=60)
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def test_a_stream_with_every_token_is_right() -> None:
    with saying([ragna(token(0)), ragna(token(1) + token(2))]) as target:
        found = asked(target, "ragna")
    assert (found["right"], found["tokens"], found["messages"]) == (2, 2 * TOKENS, 4)


@pytest.mark.parametrize(
    ("numbers", "problem"),
    [
        pytest.param([0, 2], "token 2 where 1 was due", id="one is lost"),
        pytest.param([0, 1, 1], "token 1 where 2 was due", id="one comes twice"),
        pytest.param([0, 1], "32 bytes of text instead of 3 tokens", id="the last is lost"),
        pytest.param([0, 1, 2, 3], "64 bytes of text instead of 3 tokens", id="there is one too many"),
        pytest.param([], "0 bytes of text instead of 3 tokens", id="nothing is said"),
    ],
)
def test_a_stream_with_other_tokens_is_wrong(numbers: list[int], problem: str) -> None:
    with saying([ragna(token(number)) for number in numbers]) as target:
        found = asked(target, "ragna")
    assert found["right"] == 0
    assert set(found["problems"]) == {problem}


@pytest.mark.parametrize(("end", "right"), [(["[DONE]"], 2), ([], 0)])
def test_a_completion_is_right_only_with_its_end(end: list[str], right: int) -> None:
    with saying([*(openai(token(number)) for number in range(TOKENS)), *end]) as target:
        assert asked(target, "openai")["right"] == right


@pytest.fixture(params=["over HTTP", "over gRPC"])
def stage(request: pytest.FixtureRequest) -> Iterator[Stage]:
    """The upstream and the relay in Go."""

    def over_grpc(url: str, _: Path) -> list[str]:
        return [str(BINARIES / "relay"), "-assistant", url.removeprefix("http://").removesuffix("/v1")]

    over_http = commands(BINARIES, streams=1, peers=Path())["go"]
    start, flags = (over_http, []) if request.param == "over HTTP" else (over_grpc, ["-assistant"])
    with staged({"go": start}, upstream_flags=flags) as stage:
        yield stage


GO = Variant("Go relay", "go")


def test_the_go_relay_gives_each_stream_its_end(stage: Stage) -> None:
    load = Load(streams=3, tokens=5, at_once=True)
    measured = stage.measure(GO, load)
    assert (measured.right, measured.problems, measured.messages_a_token) == (3, [], 1.0)


@pytest.mark.parametrize("stage", ["over HTTP"], indirect=True)
def test_the_upstream_knows_when_it_was_left(stage: Stage) -> None:
    load = Load(streams=4, tokens=500, at_once=True)
    found = stage.ask(GO, load, "-give-up-within=100ms", f"-upstream={stage.upstream.address}")
    assert (found["given_up"], found["closed"], found["right"]) == (4, 4, 4)
    assert found["close_p50_ms"] > 0
