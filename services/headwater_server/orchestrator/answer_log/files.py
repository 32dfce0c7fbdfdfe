"""One file an answer: written by its owner, read by anybody."""

from __future__ import annotations

import os
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from headwater_server.disk_full import says_full
from headwater_server.orchestrator.answer_log.frames import (
    HEADER_BYTES,
    MAGIC,
    MAX_EVENT,
    Frame,
    decode,
    encode,
    framed,
)
from headwater_server.orchestrator.answer_log.protocol import Entry, EventsLost, Fenced, LogFull, LogUnavailable


class AnswerFile:
    """The file of a running answer in the hands of its owner.

    A frozen owner cannot know that another has taken its place. So the other first moves the file away, then copies
    what is whole in it, and the earlier one looks after each write whether its file is still in its place: what it
    wrote before the move is in the copy, and what it writes afterwards is refused.

    Raises, in every method:
        LogFull: There is no room.
        LogUnavailable: The file cannot be written.
    """

    def __init__(self, path: Path, descriptor: int, *, epoch: int, last_sequence: int, size: int) -> None:
        self._path = path
        self._descriptor = descriptor
        self._inode = os.fstat(descriptor).st_ino
        self._epoch = epoch
        self._size = size
        self.last_sequence = last_sequence

    @classmethod
    def create(cls, path: Path, *, epoch: int) -> AnswerFile:
        """Makes the file of an answer that begins.

        In its place at once: until its first event is in it nobody was told of the answer, and a file that is cut off
        before that is read as one without events.
        """
        with translated_errors():
            try:
                descriptor = _opened(path)
            except FileNotFoundError:
                path.parent.mkdir(mode=0o700, exist_ok=True)
                descriptor = _opened(path)
            try:
                _write_all(descriptor, MAGIC)
                return cls(path, descriptor, epoch=epoch, last_sequence=0, size=len(MAGIC))
            except BaseException:
                os.close(descriptor)
                path.unlink(missing_ok=True)
                raise

    @classmethod
    def take_over(cls, path: Path, *, epoch: int) -> AnswerFile:
        """Takes the file of an answer from an earlier owner, whose writes from now on are refused.

        What follows the last whole event is dropped. A file that was never made is made; one that is none, such as a
        loss of power may leave, is put aside.
        """
        taken = path.with_suffix(".taken")
        with translated_errors():
            # A take-over that was cut off may have left its copy, which nobody has written to if the original is there.
            if not taken.exists() and path.exists():
                path.rename(taken)
            try:
                frames = list(read_frames(taken)) if taken.exists() else []
            except EventsLost:
                taken.rename(path.with_suffix(".damaged"))
                frames = []
            file = cls._write_new(path, [(frame.entry, frame.epoch) for frame in frames], epoch=epoch)
            taken.unlink(missing_ok=True)
        return file

    @classmethod
    def _write_new(cls, path: Path, frames: Sequence[tuple[Entry, int]], *, epoch: int) -> AnswerFile:
        partial = path.with_suffix(".partial")
        content = MAGIC + b"".join(encode(entry, epoch=of) for entry, of in frames)
        with translated_errors():
            path.parent.mkdir(mode=0o700, exist_ok=True)
            descriptor = _opened(partial)
            try:
                _write_all(descriptor, content)
                partial.rename(path)
            except BaseException:
                os.close(descriptor)
                partial.unlink(missing_ok=True)
                raise
        last = frames[-1][0].sequence if frames else 0
        return cls(path, descriptor, epoch=epoch, last_sequence=last, size=len(content))

    @property
    def size(self) -> int:
        """How many bytes the file has."""
        return self._size

    def append(self, events: Sequence[bytes]) -> None:
        """Writes events, all or none.

        Raises:
            Fenced: The file is another's by now.
            ValueError: An event is empty or too long.
        """
        first = self.last_sequence + 1
        frames = [framed(event, sequence=number, epoch=self._epoch) for number, event in enumerate(events, start=first)]
        content = frames[0] if len(frames) == 1 else b"".join(frames)
        with translated_errors():
            try:
                _write_all(self._descriptor, content)
            except OSError:
                with suppress(OSError):  # a torn frame at the end does no harm, but that nothing could follow it
                    os.ftruncate(self._descriptor, self._size)
                raise
            self._require_place()
        self._size += len(content)
        self.last_sequence += len(frames)

    def sync(self) -> None:
        """Brings what was written to the disk itself."""
        with translated_errors():
            os.fdatasync(self._descriptor) if hasattr(os, "fdatasync") else os.fsync(self._descriptor)

    def close(self) -> None:
        """Closes the file; doing it again is no error."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1

    def _require_place(self) -> None:
        try:
            in_place = os.stat(self._path).st_ino == self._inode  # noqa: PTH116 (a third of Path.stat's time)
        except FileNotFoundError:
            in_place = False
        if not in_place:
            raise Fenced("the answer has another owner, or was deleted")


def read_frames(path: Path, *, after: int = 0, max_bytes: int | None = None) -> list[Frame]:
    """The whole frames of a file that follow a sequence.

    Args:
        path: The file.
        after: The sequence.
        max_bytes: No more than so many bytes of events, but at least one event; None: all.

    Raises:
        EventsLost: It is no file of this format.
        OSError: It cannot be read.
    """
    with path.open("rb") as file:
        head = file.read(len(MAGIC))
        if head != MAGIC:
            if MAGIC.startswith(head):
                return []
            raise EventsLost(f"{path.name} is not an answer's file of this version")
        data, start = file.read(), len(MAGIC)
    frames: list[Frame] = []
    skipped = _skip(data, after)
    room = max_bytes
    for frame in decode(data[skipped:] if skipped else data, start=start + skipped, sequence=after + 1):
        if room is not None:
            room -= len(frame.entry.event)
            if room < 0 and frames:
                break
        frames.append(frame)
    return frames


def remove(path: Path) -> None:
    """Removes an answer's file and what a take-over may have left; one that is not there is no error."""
    for suffix in (".log", ".taken", ".partial", ".damaged"):
        path.with_suffix(suffix).unlink(missing_ok=True)


def _skip(data: bytes, count: int) -> int:
    """Where the frame after the first `count` begins; lengths are believed, because what is read is checked."""
    position = 0
    for _ in range(count):
        if position + HEADER_BYTES > len(data):
            return len(data)
        length = int.from_bytes(data[position : position + 4], "little")
        if not 0 < length <= MAX_EVENT:
            return len(data)
        position += HEADER_BYTES + length
    return min(position, len(data))


def _opened(path: Path) -> int:
    """A new file, to append to."""
    return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_APPEND | os.O_CLOEXEC, 0o600)


def _write_all(descriptor: int, content: bytes) -> None:
    written = os.write(descriptor, content)
    while written < len(content):  # a disk that is nearly full takes a part
        written += os.write(descriptor, content[written:])


class translated_errors:  # noqa: N801 (a context manager, used like a function; a class costs a third of a generator)
    """Turns the system's errors into the log's."""

    def __enter__(self) -> None:
        """Begins."""

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        """Translates.

        Raises:
            LogFull: There is no room.
            LogUnavailable: Anything else.
        """
        if isinstance(error, OSError):
            if says_full(error):
                raise LogFull("there is no room for the answer log") from error
            raise LogUnavailable(f"the answer log cannot be used: {error.strerror}") from error
