"""What an import does not take from folders and archives, counted, for the line at its end."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from headwater._cli.readable import ending
from headwater._cli.terminal import plural

_MOST_KINDS = 1000
_MOST_FOLDERS = 1000
_SHOWN = 6


@dataclass(slots=True)
class LeftOut:
    """What was left out, and why."""

    kinds: Counter[str] = field(default_factory=Counter)
    """How many files are of kinds that cannot be read, by ending."""
    files: Counter[str] = field(default_factory=Counter)
    """How many files were left out for another reason, by reason, such as `hidden`."""
    folders: Counter[str] = field(default_factory=Counter)
    """How many folders were not entered, by reason, such as `hidden`."""
    links: int = 0
    """How many symbolic links were not followed, as they lead out of what is to be imported."""
    unreadable: list[tuple[Path, str]] = field(default_factory=list)
    """Folders that could not be looked into, and why; at most 1,000."""

    def other_kind(self, name: str) -> None:
        """Counts a file of a kind that cannot be read."""
        kind = ending(name) or "no ending"
        if kind not in self.kinds and len(self.kinds) >= _MOST_KINDS:
            kind = "others"
        self.kinds[kind] += 1

    def cannot_enter(self, folder: Path, error: OSError) -> None:
        """Keeps a folder that cannot be looked into."""
        if len(self.unreadable) < _MOST_FOLDERS:
            self.unreadable.append((folder, error.strerror or str(error)))

    def line(self, more: Mapping[str, int] | None = None) -> str:
        """What was left out, for people: `3 files skipped (.png 2, hidden 1)`. Empty if nothing was.

        Args:
            more: Files that were left out later, by reason.
        """
        kinds = Counter(self.kinds)
        shown = kinds.most_common(_SHOWN)
        rest = kinds.total() - sum(count for _, count in shown)
        reasons = (Counter(self.files) + Counter(more or {})).most_common()
        parts = [*shown, *([("other kinds", rest)] if rest else []), *reasons]
        said = []
        if parts:
            total = sum(count for _, count in parts)
            said.append(f"{plural(total, 'file')} skipped ({_listed(parts)})")
        if self.folders:
            said.append(f"{plural(self.folders.total(), 'folder')} not entered ({_listed(self.folders.most_common())})")
        if self.links:
            said.append(f"{plural(self.links, 'link')} out of the folder not followed")
        return ", ".join(said)


def _listed(counts: list[tuple[str, int]]) -> str:
    return ", ".join(f"{name} {count:,}" for name, count in counts)
