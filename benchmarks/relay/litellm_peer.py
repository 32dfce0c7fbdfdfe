"""Starts LiteLLM's proxy in front of the fake upstream, and says when it is ready.

It runs in the environment of the peers (see `peers`). The proxy is one worker, without a database, keys or log.
"""

from __future__ import annotations

import argparse
import json
import os
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from pathlib import Path

READY_SECONDS = 55.0


def main() -> int:
    parser = argparse.ArgumentParser(description="LiteLLM's proxy.")
    parser.add_argument("--upstream", required=True, help="the OpenAI-compatible server's URL, up to and with /v1")
    upstream = parser.parse_args().upstream
    with socket.create_server(("127.0.0.1", 0)) as free:  # it cannot choose a port itself
        port = free.getsockname()[1]
    model = {"model": "openai/*", "api_base": upstream, "api_key": "none"}
    with tempfile.TemporaryDirectory(prefix="litellm-") as folder:
        config = Path(folder, "config.yaml")
        settings = {
            "model_list": [{"model_name": "fake/*", "litellm_params": model}],
            "general_settings": {"dangerously_permit_weak_or_unset_master_key": True},  # it listens on loopback alone
        }
        config.write_text(json.dumps(settings), encoding="utf-8")
        command = [str(Path(sys.executable).parent / "litellm"), "--config", str(config), "--host", "127.0.0.1"]
        environment = os.environ | {"LITELLM_LOG": "ERROR", "LITELLM_LOCAL_MODEL_COST_MAP": "True", "NO_PROXY": "*"}
        with subprocess.Popen(
            [*command, "--port", str(port), "--telemetry", "False"], stdout=subprocess.DEVNULL, env=environment
        ) as proxy:
            try:
                wait_until_ready(f"http://127.0.0.1:{port}/health/liveliness", proxy)
                print(f"ready 127.0.0.1:{port}", flush=True)
                return proxy.wait()
            finally:
                proxy.terminate()


def wait_until_ready(url: str, proxy: subprocess.Popen[bytes]) -> None:
    """Returns when the proxy answers.

    Raises:
        SystemExit: It ended, or does not answer in time.
    """
    until = time.monotonic() + READY_SECONDS
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    while proxy.poll() is None and time.monotonic() < until:
        try:
            with opener.open(url, timeout=2):
                return
        except (urllib.error.URLError, OSError):
            time.sleep(0.3)
    raise SystemExit("LiteLLM's proxy did not start")


if __name__ == "__main__":
    sys.exit(main())
