"""`headwater ask "…" PATH…`: questions about files, without a server, over a cache of what was read before."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePosixPath

from headwater._cli.answering import Question, ask
from headwater._cli.cache import cached_folder
from headwater._cli.document_ids import content_id
from headwater._cli.failures import CommandFailed
from headwater._cli.import_display import import_display
from headwater._cli.import_summary import Summary
from headwater._cli.importing import import_all
from headwater._cli.jobs import Job, find_jobs
from headwater._cli.left_out import LeftOut
from headwater._cli.local_server import local_server
from headwater._cli.sniffing import not_for_readers, sha256_of
from headwater._cli.sources import place
from headwater._cli.terminal import moves, note, plural, waiting
from headwater._client import Client
from headwater._exceptions import NotFound
from headwater.v1 import document_pb2

_CORPUS = "files"
_SHOWN = 10


def ask_files(question: Question, paths: Sequence[Path], *, as_json: bool, show_sources: bool) -> None:
    """Asks about what is in files, folders and ZIP archives.

    Args:
        question: What to ask; its corpora are ignored.
        paths: The files, folders and archives.
        as_json: As in `ask`.
        show_sources: As in `ask`.

    Raises:
        CommandFailed: There is nothing to read in them, or none of it can be read.
    """
    found = _find(paths)
    named = ", ".join(map(str, paths))
    if (skipped := found.left_out.line()) and not as_json:
        note(skipped)
    if not found.jobs:
        _report(found.unreadable)
        raise CommandFailed(
            f"there is nothing to read in {named}: text, web pages, PDF and office documents can be asked about, "
            "and ZIP archives of them"
        )
    with ExitStack() as stack:
        with waiting("starting …"):
            data_dir = stack.enter_context(cached_folder(paths))
            connection = stack.enter_context(local_server(data_dir, assistant=question.assistant))
            client = stack.enter_context(connection.open())
        done = _bring_up_to_date(client, found.jobs)
        _report([*found.unreadable, *((result.job.uri, result.reason) for result in done.failures)])
        if done.counts["failed"] == len(found.jobs):
            raise CommandFailed(f"nothing in {named} can be read; the reasons are above")
        asked = Question(
            prompt=question.prompt,
            corpora=[_CORPUS],
            assistant=question.assistant,
            top_k=question.top_k,
            instructions=question.instructions,
        )
        ask(client, asked, as_json=as_json, show_sources=show_sources)


@dataclass(slots=True)
class _Found:
    """What the paths mean."""

    jobs: list[Job] = field(default_factory=list)
    """What is to be in the cache, each content once."""
    unreadable: list[tuple[str, str]] = field(default_factory=list)
    """Where something cannot be read, and why."""
    left_out: LeftOut = field(default_factory=LeftOut)
    """What is not to be read."""


def _find(paths: Sequence[Path]) -> _Found:
    found = _Found()
    jobs: dict[str, Job] = {}
    for job in find_jobs(paths, found.left_out):
        if job.fault:
            found.unreadable.append((job.uri, job.fault))
            continue
        try:
            with job.open() as file:
                reason = "" if job.named else not_for_readers(file, job.name)
                sha256 = "" if reason else sha256_of(file).hex()
        except OSError as error:
            found.unreadable.append((job.uri, error.strerror or str(error)))
        else:
            if reason:
                found.left_out.files[reason] += 1
            else:
                document_id = content_id(PurePosixPath(job.name), sha256)
                jobs.setdefault(document_id, replace(job, document_id=document_id))
    found.jobs = list(jobs.values())
    found.unreadable += [(str(folder.absolute()), reason) for folder, reason in found.left_out.unreadable]
    return found


def _bring_up_to_date(client: Client, jobs: Sequence[Job]) -> Summary:
    """Makes the cache hold these documents and no others; returns what became of those that it did not have."""
    there = _documents(client)
    for document_id in there.keys() - {job.document_id for job in jobs}:
        client.documents.delete(document_id, corpus=_CORPUS)
    missing = []
    for job in jobs:
        document = there.get(job.document_id)
        if document is None or document.state != document_pb2.DOCUMENT_STATE_READY:
            missing.append(job)
        elif document.uri != job.uri:  # the same content, somewhere else
            client.documents.update(document.name, uri=job.uri)
    if not missing:
        return Summary()
    if not moves():
        note(f"reading {plural(len(missing), 'file')} …")
    with import_display(len(missing), quiet=True) as display:
        return import_all(client, missing, corpus=_CORPUS, display=display)


def _documents(client: Client) -> dict[str, document_pb2.Document]:
    """The documents in the cache, by id."""
    try:
        return {document.name.rpartition("/")[2]: document for document in client.documents.list(_CORPUS)}
    except NotFound:
        client.corpora.create(_CORPUS, exist_ok=True)
        return {}


def _report(unreadable: Sequence[tuple[str, str]]) -> None:
    for uri, reason in unreadable[:_SHOWN]:
        note(f"{place(uri)} cannot be read: {reason}")
    if len(unreadable) > _SHOWN:
        note(f"… and {plural(len(unreadable) - _SHOWN, 'more file')}")
