"""Recording a service, and cutting its power at moments of the recording."""

from __future__ import annotations

import os
import random
import shutil
import signal
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import anyio

from tests.power_loss.disk import Disk
from tests.power_loss.model import expectations, violations
from tests.power_loss.recording import Op, Record, compile_recorder, read_log, recording_environment

CHANGES = 120
_ROOT = Path(__file__).resolve().parents[2]
_SECONDS = 120
_PAGE = 4096


@dataclass(frozen=True, slots=True)
class Recording:
    """What was recorded."""

    root: Path
    """Where the folder was."""
    records: Sequence[Record]
    index_copies: Path


def record(folder: Path, *, seed: int, changes: int = CHANGES) -> Recording:
    """Runs the workload under the recorder until it kills itself.

    Args:
        folder: Where to put everything; empty.
        seed: Of what the workload does.
        changes: How many changes it makes.
    """
    root, log, copies = folder / "live", folder / "log", folder / "index-copies"
    root.mkdir()
    copies.mkdir()
    log.touch()
    library = compile_recorder(folder)
    command = [sys.executable, "-m", "tests.power_loss.workload", str(root), str(log), str(copies)]
    done = subprocess.run(
        [*command, str(seed), str(changes)],
        cwd=_ROOT,
        env={**os.environ, **recording_environment(library, root=root, log=log, skip=root / "store" / "index")},
        capture_output=True,
        text=True,
        timeout=_SECONDS,
        check=False,
    )
    if done.returncode != -signal.SIGKILL:
        raise RuntimeError(f"the workload did not come to its end: {done.stdout[-2000:]}{done.stderr[-4000:]}")
    return Recording(root, read_log(log), copies)


def moments(recording: Recording, *, seed: int, cuts: int) -> list[int]:
    """How many records come before each cut: half of them anywhere, half just after something was acknowledged."""
    chance = random.Random(seed)  # noqa: S311 (no secret)
    acknowledged = [
        number + 1
        for number, record in enumerate(recording.records)
        if record.op is Op.MARKED and record.note.get("done")
    ]
    anywhere = range(len(recording.records) + 1)
    return [chance.choice(acknowledged if number % 2 else anywhere) for number in range(cuts)]


def after_cut(recording: Recording, moment: int, *, seed: int, target: Path) -> list[str]:
    """Cuts the power at a moment, opens a service on what is left, and says what is not as it must be."""
    chance = random.Random(f"{seed}/{moment}")  # noqa: S311 (no secret)
    before = recording.records[:moment]
    disk = Disk(recording.root)
    disk.replay(before)
    disk.write_after_loss(target, chance)
    _write_index(recording, before, target, chance)
    return anyio.run(violations, target, expectations(before))


def _write_index(recording: Recording, before: Sequence[Record], target: Path, chance: random.Random) -> None:
    """Puts the index there as it was at some time before the cut, whole, damaged, or not at all."""
    copies = [record.note["index"] for record in before if record.op is Op.MARKED and "index" in record.note]
    store = target / "store"
    if not copies or not store.exists() or chance.random() < 0.25:
        return
    command = ["cp", "-r", "--sparse=always", str(recording.index_copies / str(chance.choice(copies[-3:])))]
    subprocess.run([*command, str(store / "index")], check=True)
    if chance.random() < 0.5:
        for path in sorted((store / "index").rglob("*")):
            if path.is_file() and chance.random() < 0.3:
                _damage(path, chance)


def _damage(path: Path, chance: random.Random) -> None:
    """Takes pages of a file away, or cuts it off."""
    size = path.stat().st_size
    with path.open("r+b") as file:
        if chance.random() < 0.3:
            file.truncate(chance.randint(0, size))
            return
        for _ in range(1 + size // _PAGE // 8 if size < 1 << 20 else 8):
            file.seek(chance.randint(0, max(0, size - 1)) // _PAGE * _PAGE)
            file.write(bytes(min(_PAGE, size - file.tell())))


def try_cuts(folder: Path, *, seed: int, cuts: int, changes: int = CHANGES) -> dict[int, list[str]]:
    """Records once and cuts often; returns what was violated, by the moment of the cut."""
    recording = record(folder, seed=seed, changes=changes)
    found = {}
    for number, moment in enumerate(moments(recording, seed=seed, cuts=cuts)):
        target = folder / f"cut-{number}"
        wrong = after_cut(recording, moment, seed=seed, target=target)
        if wrong:
            found[moment] = wrong
        else:
            shutil.rmtree(target)
    return found
