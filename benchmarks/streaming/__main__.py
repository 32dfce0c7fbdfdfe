"""Each figure that streaming has to reach, measured: part by part, each beside others in the same run.

    python -m benchmarks.streaming                  all, some 15 minutes
    python -m benchmarks.streaming hop cancel       these parts; each takes at most 4 minutes
    python -m benchmarks.streaming --keep           for the docs: see scripts/benchmarks_docs.py

The parts: `streams64`, `streams1000` and `burst`, what a relayed token costs and how late the first one comes (see
`benchmarks.relay.run`); `hop`, the orchestrator apart; `log`, each event logged before it is sent; `cancel`, from a
caller's cancel to the end of the upstream's connection; `memory`, of a stream that is idle or not read; `imports`, of
the client library and the command line.
"""

from __future__ import annotations

import argparse
import functools
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from benchmarks.figures import Run
from benchmarks.relay import peers
from benchmarks.relay.stage import LoadFailed
from benchmarks.streaming import cancelling, hop, imports, logged, memory, relaying
from benchmarks.streaming.targets import Outcome
from scripts.benchmarks_docs import RELAYS, TARGETS

Part = Callable[[int], Outcome]
"""From how many rounds to what was found."""

WITHOUT_GO = ("log", "imports")


def parts(python: Path) -> dict[str, Part]:
    """All parts, with the peers' Python."""

    def beside(part: Callable[..., Outcome]) -> Part:
        return lambda rounds: functools.partial(part, python)(rounds=rounds)

    def alone(part: Callable[..., Outcome]) -> Part:
        return lambda rounds: part(rounds=rounds)

    return {
        "streams64": beside(relaying.at_64),
        "streams1000": beside(relaying.at_1000),
        "burst": beside(relaying.in_a_burst),
        "hop": alone(hop.orchestrator),
        "log": alone(logged.events),
        "cancel": beside(cancelling.closings),
        "memory": lambda _: memory.of_streams(python),
        "imports": alone(imports.beginnings),
    }


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.streaming", description="Measure streaming.")
    known = parts(peers.DEFAULT_PYTHON)
    parser.add_argument("names", nargs="*", metavar="PART", help=f"which, of {', '.join(known)}; all if none")
    parser.add_argument("--rounds", type=int, default=3, help="how often; medians count (memory is measured once)")
    parser.add_argument("--keep", action="store_true", help="keep the figures in benchmarks/measured, for the docs")
    peers.add_option(parser)
    options = parser.parse_args()
    names = options.names or list(known)
    if unknown := [name for name in names if name not in known]:
        parser.error(f"there is no {' and no '.join(unknown)}; there are {', '.join(known)}")
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # ends the servers as Ctrl-C does
    chosen = parts(options.peers)
    right = True
    for name in names:
        if name not in WITHOUT_GO and shutil.which("go") is None:
            print(f"{name}: left out, there is no go command here")
            continue
        try:
            right = _run(name, chosen[name], rounds=options.rounds, keep=options.keep) and right
        except KeyboardInterrupt:
            return 130
        except (LoadFailed, RuntimeError, subprocess.CalledProcessError) as error:
            print(f"{name}: {error}", file=sys.stderr)
            right = False
    return 0 if right else 1


def _run(name: str, part: Part, *, rounds: int, keep: bool) -> bool:
    """Runs a part, shows what it found, and keeps that if it is right; tells whether it is."""
    runs = {kind: Run("benchmarks.streaming", [name, "--rounds", str(rounds)]) for kind in ("streaming", "relays")}
    outcome = part(rounds)
    shown = {"streaming": (TARGETS, [each.row() for each in outcome.found]), "relays": (RELAYS, outcome.relays)}
    for kind, (table, rows) in shown.items():
        if not rows:
            continue
        print("\n".join([f"\n{name}:\n", table.heading(), *map(table.lines, rows)]), flush=True)
        for row in rows:
            runs[kind].add(row)
        if keep and not outcome.wrong:
            runs[kind].keep(f"{kind}_{name}")
    for wrong in outcome.wrong:
        print(wrong, file=sys.stderr)
    return not outcome.wrong


if __name__ == "__main__":
    sys.exit(main())
