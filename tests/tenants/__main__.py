"""Two tenants on one server: `python -m tests.tenants --operations 100000 --seed 7`."""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import sys
import tempfile
from pathlib import Path

from tests.faults.figures import record, record_failure
from tests.tenants.driver import run


def main() -> None:
    """Runs as the command line says; exits with 1 where a tenant was sent what is another's."""
    parser = argparse.ArgumentParser(prog="python -m tests.tenants", description=__doc__)
    parser.add_argument("--operations", type=int, default=10_000)
    parser.add_argument("--seconds", type=float, default=None, help="after which no further operation begins")
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(10**6))
    parser.add_argument("--no-figures", action="store_true", help="leave benchmarks/answers_faults.json as it is")
    arguments = parser.parse_args()
    seed, keep = arguments.seed, not arguments.no_figures
    sys.stdout.write(f"tenants, seed {seed}\n")
    sys.stdout.flush()
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        try:
            found = asyncio.run(run(arguments.operations, seed=seed, folder=Path(folder), seconds=arguments.seconds))
        except Exception as error:
            if keep:
                record_failure("tenants", str(error) or repr(error), seed=seed)
            raise
    sys.stdout.write(f"{json.dumps(found)}\n")
    if keep:
        record("tenants", found, seed=seed)


if __name__ == "__main__":
    main()
