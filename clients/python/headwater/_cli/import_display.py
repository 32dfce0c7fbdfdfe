"""How an import is shown: bars on a terminal, lines elsewhere, objects for programs."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager

from rich.progress import BarColumn, MofNCompleteColumn, Progress, Task, TaskID, TextColumn
from rich.text import Text

from headwater._cli.import_summary import Result, Summary
from headwater._cli.importing import Display
from headwater._cli.jobs import Job
from headwater._cli.sources import place
from headwater._cli.terminal import errors, moves, plural, safe, write_object
from headwater._collecting import ImportProgress

_NAME_WIDTH = 40
FEW = 100
"""Up to so many documents each has its line."""
EVERY_SECONDS = 5.0
"""Of more, how far they are is said this often."""
_STILL_SECONDS = 30.0
_WINDOW = 12
_TELLING = 10
"""So many documents say something of the pace."""


@contextmanager
def import_display(total: int, *, quiet: bool = False, as_json: bool = False, corpus: str = "") -> Iterator[Display]:
    """Shows an import for as long as the context lasts, on standard error.

    Args:
        total: How many documents there are.
        quiet: Whether to show nothing but bars, which leave no trace.
        as_json: Whether to write an object for each document that is done, on standard output.
        corpus: The corpus, for the objects.
    """
    objects = _Objects(corpus) if as_json else None
    if not moves():
        yield _Lines(total, quiet=quiet, objects=objects)
        return
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), _Doing(""))
    with Progress(*columns, console=errors(), transient=True) as progress:
        yield _Bars(progress, total, objects=objects)


def duration(seconds: float) -> str:
    """A length of time for people: `4.5 s`, `45 s`, `3 min 20 s`, `2 h 5 min`."""
    whole = round(seconds)
    if seconds < 10:
        return f"{seconds:.1f} s"
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"


class Pace:
    """How fast documents come to their end, and how long the others will take."""

    def __init__(self, total: int) -> None:
        self._total = total
        self._began = time.monotonic()
        self._marks = deque([(self._began, 0)], maxlen=_WINDOW)
        self._said = (self._began, 0)

    def mark(self, done: int) -> bool:
        """Notes how many are done, once in `EVERY_SECONDS`.

        Returns:
            Whether to say it: at each such time, but far more seldom while none comes to its end.
        """
        now = time.monotonic()
        if now - self._marks[-1][0] < EVERY_SECONDS:
            return False
        self._marks.append((now, done))
        said_at, said_done = self._said
        if done == said_done and now - said_at < _STILL_SECONDS:
            return False
        self._said = (now, done)
        return True

    def line(self, done: int) -> str:
        """`1,234 of 10,000 files · 56.7 a second · 2 min 35 s left`."""
        rate = self._rate(done)
        parts = [f"{done:,} of {plural(max(self._total, done), 'file')}", f"{rate:.1f} a second"]
        if rate > 0 and done < self._total:
            parts.append(f"{duration((self._total - done) / rate)} left")
        return " · ".join(parts)

    def _rate(self, done: int) -> float:
        """That of about the last minute; since the beginning where a few large documents took all of that minute."""
        begun, before = self._marks[0]
        if done - before < _TELLING:
            begun, before = self._began, 0
        return (done - before) / max(time.monotonic() - begun, 1e-3)


def summary_pace(summary: Summary, seconds: float) -> str:
    """How long an import took and how fast it was: `10,000 files in 3 min 20 s, 50.0 a second`."""
    rate = summary.done / max(seconds, 1e-3)
    return f"{plural(summary.done, 'file')} in {duration(seconds)}, {rate:.1f} a second"


class _Objects:
    """One JSON object for each document that is done."""

    def __init__(self, corpus: str) -> None:
        self._corpus = corpus

    def write(self, result: Result) -> None:
        job = result.job
        values: dict[str, object] = {
            "uri": job.uri,
            "document": f"corpora/{self._corpus}/documents/{job.document_id}",
            "outcome": result.outcome,
            "passages": result.passages,
            "seconds": round(result.seconds, 3),
        }
        if result.reason:
            values["reason"] = result.reason
        if result.code:
            values["code"] = result.code
        write_object(values)


class _Lines:
    """A line for each document that is done; where there are many, for each that failed, and now and then the pace."""

    def __init__(self, total: int, *, quiet: bool, objects: _Objects | None) -> None:
        self._total = total
        self._quiet = quiet
        self._objects = objects
        self._pace = Pace(total)
        self._done = 0
        self._under_way = ""

    def started(self, job: Job) -> None:  # noqa: ARG002 (which document it is says nothing of the pace)
        """Says the pace, if it is time."""
        self._say_pace()

    def progressed(self, job: Job, progress: ImportProgress) -> None:
        """Says the pace, if it is time."""
        if progress.passage_count:
            passages = f"{progress.embedded_passages:,} of {plural(progress.passage_count, 'passage')}"
            self._under_way = f"{safe(job.name)}: {passages}"
        self._say_pace()

    def ended(self, result: Result) -> None:
        """Says what became of the document, or the pace."""
        self._done += 1
        self._under_way = ""
        if self._objects:
            self._objects.write(result)
        elif not self._quiet and (self._total <= FEW or result.outcome == "failed"):
            said = result.reason or plural(result.passages, "passage")
            path = safe(place(result.job.uri))
            self.said(f"[{self._done}/{self._total}] {result.outcome} {path}: {said}")
        self._say_pace()

    def said(self, text: str) -> None:
        """Says it."""
        if not self._quiet:
            errors().print(Text(safe(text)))

    def _say_pace(self) -> None:
        if self._total > FEW and self._pace.mark(self._done):
            self.said(" · ".join(filter(None, [self._pace.line(self._done), self._under_way])))


class _Doing(TextColumn):
    """What goes on with a document; of all of them, how fast they are and how long it will take."""

    def render(self, task: Task) -> Text:
        doing = task.fields["doing"]
        if task.fields.get("all") and task.speed:
            left = "" if task.time_remaining is None else f", {duration(task.time_remaining)} left"
            doing = f"{task.speed:.1f} a second{left}"
        return Text(doing, style="dim")


class _Bars:
    """A bar for all documents, and one for each that is under way."""

    def __init__(self, progress: Progress, total: int, *, objects: _Objects | None) -> None:
        self._progress = progress
        self._objects = objects
        self._all = progress.add_task("files", total=total, doing="", all=True)
        self._tasks: dict[Job, TaskID] = {}

    def started(self, job: Job) -> None:
        """Adds the document's bar."""
        name = safe(job.name)
        shown = name if len(name) <= _NAME_WIDTH else f"{name[: _NAME_WIDTH - 1]}…"
        self._tasks[job] = self._progress.add_task(shown.replace("[", r"\["), total=None, doing="uploading")

    def progressed(self, job: Job, progress: ImportProgress) -> None:
        """Moves the document's bar: bytes while it is uploaded, passages while they are embedded."""
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
        """Removes the document's bar."""
        task = self._tasks.pop(result.job, None)
        if task is not None:
            self._progress.remove_task(task)
        self._progress.advance(self._all)
        if self._objects:
            self._objects.write(result)

    def said(self, text: str) -> None:
        """Says it above the bars."""
        self._progress.console.print(Text(safe(text), style="dim"))
