"""The figures of the last runs, in benchmarks/answers_faults.json: scripts/faults_docs.py makes a table of them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

FIGURES = Path(__file__).resolve().parents[2] / "benchmarks" / "answers_faults.json"
_MOST_WORDS = 400


def record(name: str, found: Mapping[str, Any], *, seed: int, path: Path = FIGURES) -> None:
    """Writes down what a run has found, in the place of what the one before had."""
    figures = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    figures[name] = {**found, "seed": seed, "date": datetime.now(UTC).date().isoformat()}
    path.write_text(json.dumps(figures, indent=1, ensure_ascii=False, sort_keys=True) + "\n", encoding="utf-8")


def record_failure(name: str, why: str, *, seed: int, path: Path = FIGURES) -> None:
    """Writes down that a run has failed: what was found before does not hold any more.

    Args:
        name: Of the run.
        why: What was wrong; its beginning is kept, on one line.
        seed: Of the run.
        path: The file.
    """
    words = " ".join(why.split())
    record(name, {"failed": words[:_MOST_WORDS] or "without a word"}, seed=seed, path=path)
