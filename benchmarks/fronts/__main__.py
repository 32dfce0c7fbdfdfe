"""Runs the comparison: see `run`."""

from __future__ import annotations

import sys

from benchmarks.fronts.run import main

sys.exit(main())
