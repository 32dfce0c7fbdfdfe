"""How an import is shown: bars on a terminal, a line a file elsewhere."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn
from rich.text import Text

from headwater._cli.importing import Display, Job, Result
from headwater._cli.sources import place
from headwater._cli.terminal import errors, moves, plural, safe
from headwater._collecting import ImportProgress

_NAME_WIDTH = 40


@contextmanager
def import_display(total: int, *, quiet: bool = False) -> Iterator[Display]:
    """Shows an import for as long as the context lasts, on standard error.

    Args:
        total: How many files there are.
        quiet: Whether to show nothing but bars, which leave no trace.
    """
    if not moves():
        yield _Lines(total, quiet=quiet)
        return
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TextColumn("{task.fields[doing]}"))
    with Progress(*columns, console=errors(), transient=True) as progress:
        yield _Bars(progress, total)


class _Lines:
    """One line for each file that is done."""

    def __init__(self, total: int, *, quiet: bool) -> None:
        self._total = total
        self._quiet = quiet
        self._done = 0

    def started(self, job: Job) -> None:
        """Says nothing."""

    def progressed(self, job: Job, progress: ImportProgress) -> None:
        """Says nothing."""

    def ended(self, result: Result) -> None:
        """Says what became of the file."""
        self._done += 1
        if self._quiet:
            return
        said = result.reason if result.outcome == "failed" else plural(result.passages, "passage")
        path = safe(place(result.job.uri))
        errors().print(Text(f"[{self._done}/{self._total}] {result.outcome} {path}: {safe(said)}"))


class _Bars:
    """A bar for all files, and one for each that is under way."""

    def __init__(self, progress: Progress, total: int) -> None:
        self._progress = progress
        self._all = progress.add_task("files", total=total, doing="")
        self._tasks: dict[Job, TaskID] = {}

    def started(self, job: Job) -> None:
        """Adds the file's bar."""
        name = safe(job.path.name)
        shown = name if len(name) <= _NAME_WIDTH else f"{name[: _NAME_WIDTH - 1]}…"
        self._tasks[job] = self._progress.add_task(shown.replace("[", r"\["), total=None, doing="uploading")

    def progressed(self, job: Job, progress: ImportProgress) -> None:
        """Moves the file's bar: bytes while it is uploaded, passages while they are embedded."""
        update: tuple[int, int | None, str]
        if progress.stage == "uploading":
            update = (progress.committed_bytes, progress.size_bytes, "bytes uploaded")
        elif progress.passage_count:
            update = (progress.embedded_passages, progress.passage_count, "passages embedded")
        else:
            update = (0, None, "being read")
        completed, total, doing = update
        self._progress.update(self._tasks[job], completed=completed, total=total, doing=doing)

    def ended(self, result: Result) -> None:
        """Removes the file's bar."""
        task = self._tasks.pop(result.job, None)
        if task is not None:
            self._progress.remove_task(task)
        self._progress.advance(self._all)
