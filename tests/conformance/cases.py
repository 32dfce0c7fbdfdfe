"""The conformance cases: streams as data, which every SDK is tried against."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).parent / "cases"


@dataclass(frozen=True, slots=True)
class Case:
    """One case; `README.md` says what stands in it."""

    name: str
    description: str
    steps: list[dict[str, Any]]
    resumes: list[dict[str, Any]]
    expect: dict[str, Any]
    action: str
    chat: str


def load_cases() -> dict[str, Case]:
    """Reads every case, by its name."""
    cases = {}
    for path in sorted(FOLDER.glob("*.json")):
        data = json.loads(path.read_text(encoding="utf-8"))
        cases[path.stem] = Case(
            path.stem,
            data["description"],
            data["steps"],
            data.get("resumes", []),
            data["expect"],
            data.get("action", ""),
            data.get("chat", ""),
        )
    return cases
