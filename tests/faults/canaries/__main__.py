"""Looks for secrets everywhere, and keeps how many places it looked at: `python -m tests.faults.canaries`."""

from __future__ import annotations

import argparse
import json
import random
import sys
import tempfile
from pathlib import Path

from tests.faults.canaries.run import run
from tests.faults.figures import record, record_failure


def main() -> None:
    """Runs as the command line says; exits with 1 where a secret was found."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(10**6))
    seed = parser.parse_args().seed
    sys.stdout.write(f"canaries, seed {seed}\n")
    with tempfile.TemporaryDirectory() as folder:
        try:
            found = run(Path(folder), seed=seed)
        except Exception as error:
            record_failure("canaries", str(error) or repr(error), seed=seed)
            raise
    record("canaries", found, seed=seed)
    sys.stdout.write(f"{json.dumps(found)}\n")


if __name__ == "__main__":
    main()
