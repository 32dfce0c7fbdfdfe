"""`python -m tests.power_loss --cuts 100 --seed 7`: cuts the power again and again, and says what was lost."""

from __future__ import annotations

import argparse
import logging
import shutil
import sys
import tempfile
import time
from pathlib import Path

import structlog

from tests.power_loss.cutting import CHANGES, after_cut, moments, record


def main() -> int:
    """Runs the command."""
    parser = argparse.ArgumentParser(prog="python -m tests.power_loss", description=__doc__)
    parser.add_argument("--cuts", type=int, default=100)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--changes", type=int, default=CHANGES, help="how many changes are recorded")
    parser.add_argument("--moment", type=int, help="cut at this moment only")
    arguments = parser.parse_args()
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    begun, bad = time.monotonic(), 0
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        recording = record(folder, seed=arguments.seed, changes=arguments.changes)
        print(f"{len(recording.records)} records of {arguments.changes} changes")  # noqa: T201 (a program)
        cuts = moments(recording, seed=arguments.seed, cuts=arguments.cuts)
        if arguments.moment is not None:
            cuts = [arguments.moment]
        for number, moment in enumerate(cuts):
            target = folder / f"cut-{number}"
            wrong = after_cut(recording, moment, seed=arguments.seed, target=target)
            shutil.rmtree(target)
            bad += bool(wrong)
            for line in wrong:
                print(f"cut at {moment}: {line}", flush=True)  # noqa: T201 (a program)
    print(  # noqa: T201 (a program)
        f"seed {arguments.seed}: {bad} of {len(cuts)} cuts lost something, {time.monotonic() - begun:.0f} s"
    )
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
