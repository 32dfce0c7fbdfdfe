"""Runs the benchmark: see `run`."""

from __future__ import annotations

import sys

from benchmarks.relay.run import main

sys.exit(main())
