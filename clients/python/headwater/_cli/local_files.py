"""`headwater ask "…" PATH…`: questions about files, without a server, over a cache of what was read before."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

from headwater._cli.answering import Question, ask
from headwater._cli.cache import cached_folder
from headwater._cli.document_ids import content_id
from headwater._cli.failures import CommandFailed
from headwater._cli.import_display import import_display
from headwater._cli.importing import Job, Result, import_all
from headwater._cli.local_server import local_server
from headwater._cli.sources import place
from headwater._cli.terminal import moves, note, plural, waiting
from headwater._cli.walking import Found, find_files
from headwater._client import Client
from headwater._exceptions import NotFound
from headwater.v1 import document_pb2

_CORPUS = "files"
_SHOWN = 10


def ask_files(question: Question, paths: Sequence[Path], *, as_json: bool, show_sources: bool) -> None:
    """Asks about what is in files and folders.

    Args:
        question: What to ask; its corpora are ignored.
        paths: The files and folders.
        as_json: As in `ask`.
        show_sources: As in `ask`.

    Raises:
        CommandFailed: There is nothing to read in them, or none of it can be read.
    """
    found = find_files(paths)
    named = ", ".join(map(str, paths))
    if found.skipped and not as_json:
        note(found.skipped_line())
    jobs, unreadable = _jobs(found)
    if not jobs:
        _report(unreadable)
        raise CommandFailed(
            f"there is nothing to read in {named}: text, Markdown, HTML, PDF and Word files can be asked about"
        )
    with ExitStack() as stack:
        with waiting("starting …"):
            data_dir = stack.enter_context(cached_folder(paths))
            connection = stack.enter_context(local_server(data_dir, assistant=question.assistant))
            client = stack.enter_context(connection.open())
        failures = _bring_up_to_date(client, jobs)
        _report([*unreadable, *((result.job.path, result.reason) for result in failures)])
        if len(failures) == len(jobs):
            raise CommandFailed(f"nothing in {named} can be read; the reasons are above")
        asked = Question(
            prompt=question.prompt,
            corpora=[_CORPUS],
            assistant=question.assistant,
            top_k=question.top_k,
            instructions=question.instructions,
        )
        ask(client, asked, as_json=as_json, show_sources=show_sources)


def _jobs(found: Found) -> tuple[list[Job], list[tuple[Path, str]]]:
    """What is to be in the cache, each content once, and which files cannot be read."""
    jobs: dict[str, Job] = {}
    unreadable = list(found.unreadable)
    for path in found.files:
        try:
            with path.open("rb") as file:
                document_id = content_id(path, hashlib.file_digest(file, "sha256").hexdigest())
        except OSError as error:
            unreadable.append((path, error.strerror or str(error)))
        else:
            jobs.setdefault(document_id, Job(path, document_id))
    return list(jobs.values()), unreadable


def _bring_up_to_date(client: Client, jobs: Sequence[Job]) -> list[Result]:
    """Makes the cache hold these files and no others; returns those that cannot be read."""
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
        return []
    if not moves():
        note(f"reading {plural(len(missing), 'file')} …")
    with import_display(len(missing), quiet=True) as display:
        return import_all(client, missing, corpus=_CORPUS, display=display).failures


def _documents(client: Client) -> dict[str, document_pb2.Document]:
    """The documents in the cache, by id."""
    try:
        return {document.name.rpartition("/")[2]: document for document in client.documents.list(_CORPUS)}
    except NotFound:
        client.corpora.create(_CORPUS, exist_ok=True)
        return {}


def _report(unreadable: Sequence[tuple[Path, str]]) -> None:
    for path, reason in unreadable[:_SHOWN]:
        note(f"{place(str(path.absolute()))} cannot be read: {reason}")
    if len(unreadable) > _SHOWN:
        note(f"… and {plural(len(unreadable) - _SHOWN, 'more file')}")
