"""Holds requirements.lock against pyproject.toml, without a network: `.venv`'s metadata say what needs what.

Everything that the project, its extras, its groups and its build need, and all that these need in turn, must be pinned
to a version that satisfies them, and nothing else may be pinned. Looks at this platform's part of the lock only. Run by
`make check`, in `.venv`; `make lock` makes a lock that passes.
"""

from __future__ import annotations

import importlib.metadata
import re
import sys
import tomllib
from collections.abc import Iterable, Iterator
from pathlib import Path

from packaging.markers import Marker
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parent.parent
OWN = {"headwater", "headwater-minilm"}
UNLOCKED = {"gpu"}
"""Extras that cannot be installed beside the others, and are not in the lock."""
PIN = re.compile(r"(?m)^([\w.-]+)==(\S+)(?: ; (.+?))? \\$")


def wanted(project_file: Path) -> list[Requirement]:
    """Lists what pyproject.toml asks for: dependencies, extras, groups, and what builds the wheel."""
    content = tomllib.loads(project_file.read_text(encoding="utf-8"))
    project = content["project"]
    lists = [project["dependencies"], content["build-system"]["requires"]]
    extras = project.get("optional-dependencies", {})
    lists += [*(extras[name] for name in extras.keys() - UNLOCKED), *content.get("dependency-groups", {}).values()]
    return [Requirement(line) for lines in lists for line in lines]


def pins(lock_file: Path) -> dict[str, str]:
    """Maps each distribution that the lock pins on this platform to its version."""
    found = PIN.findall(lock_file.read_text(encoding="utf-8"))
    return {name: version for name, version, marker in found if not marker or Marker(marker).evaluate()}


def applies(requirement: Requirement, extras: Iterable[str] = ()) -> bool:
    """Whether a requirement holds here, for a distribution asked for with these extras."""
    marker = requirement.marker
    return marker is None or any(marker.evaluate({"extra": extra}) for extra in (*extras, ""))


def faults(requirements: Iterable[Requirement], pinned: dict[str, str]) -> Iterator[str]:
    """Says what the lock lacks, what in it does not fit, and what nothing asks for."""
    todo = [requirement for requirement in requirements if applies(requirement)]
    seen: set[str] = set()
    needed: set[str] = set()
    while todo:
        requirement = todo.pop()
        name = canonicalize_name(requirement.name)
        if name in OWN or str(requirement) in seen:
            continue
        seen.add(str(requirement))
        needed.add(name)
        if name not in pinned:
            yield f"does not pin {name}"
            continue
        if not requirement.specifier.contains(pinned[name], prereleases=True):
            yield f"pins {name} {pinned[name]}, and {requirement} is asked for"
        children = [Requirement(line) for line in importlib.metadata.requires(name) or ()]
        todo += [child for child in children if applies(child, requirement.extras)]
    yield from (f"pins {name}, which nothing asks for" for name in sorted(pinned.keys() - needed))


def main() -> int:
    """Checks; returns the exit status."""
    try:
        wrong = list(faults(wanted(ROOT / "pyproject.toml"), pins(ROOT / "requirements.lock")))
    except importlib.metadata.PackageNotFoundError as error:
        wrong = [f"pins {error.name}, which .venv has not: run `make venv`"]
    for fault in wrong:
        print(f"requirements.lock {fault}", file=sys.stderr)
    if wrong:
        print("requirements.lock is not in step with pyproject.toml: run `make lock`", file=sys.stderr)
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
