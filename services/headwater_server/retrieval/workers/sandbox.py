"""What a worker takes from itself before it reads a document, as far as the system lets it.

The libraries that read documents are not made for hostile ones, so a worker is treated as if a document could take it
over. Each mechanism is tried by itself: where the kernel or the container lacks one, that is said, and the others hold.
"""

from __future__ import annotations

import os
import sys
import sysconfig
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from headwater_server.retrieval.workers import kernel, landlock, seccomp

_SYSTEM_FOLDERS = ("/usr", "/lib", "/lib32", "/lib64", "/sys/devices/system")
_SYSTEM_FILES = (
    *("/dev/null", "/dev/zero", "/dev/random", "/dev/urandom"),
    *("/etc/ld.so.cache", "/etc/localtime", "/etc/mime.types"),
    *("/proc/self", "/proc/cpuinfo", "/proc/meminfo", "/proc/stat", "/proc/sys/vm/overcommit_memory"),
)


class Deed(StrEnum):
    """What a document that has taken over a worker would like to do."""

    GAIN_PRIVILEGES = "gain privileges"
    USE_NETWORK = "use the network"
    START_PROCESSES = "start programs or processes"
    TOUCH_PROCESSES = "touch other processes"
    WRITE_FILES = "write or remove files"
    READ_FILES = "read other files"


@dataclass(frozen=True, slots=True)
class Protection:
    """Whether a worker is kept from a deed."""

    deed: Deed
    by: str
    """The mechanisms that keep it; empty where there are none."""
    lacking: str = ""
    """Why there are none."""


def readable_paths(import_path: Sequence[str], *, private: Path | None) -> tuple[str, ...]:
    """What a worker must be able to read: the interpreter, the packages, and what the system's libraries look at.

    Args:
        import_path: The `sys.path` of the worker.
        private: The folder with the documents, which is kept out even where it lies within one of the others.
    """
    prefixes = (sys.prefix, sys.base_prefix, sys.exec_prefix, sys.base_exec_prefix, sysconfig.get_path("stdlib"))
    libraries = os.environ.get("LD_LIBRARY_PATH", "").split(os.pathsep)
    folders = {*_SYSTEM_FOLDERS, *prefixes, *filter(None, libraries), *(each or os.curdir for each in import_path)}
    return (*sorted({path for folder in folders for path in _without(folder, private)}), *_SYSTEM_FILES)


def _without(folder: str, private: Path | None) -> Iterator[str]:
    paths = [Path(folder).resolve()] if private is None else landlock.paths_without(Path(folder), private)
    return map(str, paths)


def enter_sandbox(readable: Sequence[str]) -> tuple[Protection, ...]:
    """Restricts this process for good. It must have one thread only, and open all else that it needs before.

    Args:
        readable: What it may read, with all that is beneath it.

    Returns:
        One entry for each deed.
    """
    if sys.platform != "linux":
        return tuple(Protection(deed, "", f"it needs Linux, and this is {sys.platform}") for deed in Deed)
    lacking = {"prctl": _attempt(_give_up_privileges), "seccomp": _attempt(seccomp.require)}
    if lacking["seccomp"]:
        lacking["a network namespace"] = _attempt(kernel.enter_empty_network)
    lacking["Landlock"] = _attempt(lambda: landlock.allow_reading_only(readable))
    if not lacking["seccomp"]:
        lacking["seccomp"] = _attempt(seccomp.deny_system_calls)
    return (
        _protection(Deed.GAIN_PRIVILEGES, lacking, "prctl"),
        _protection(Deed.USE_NETWORK, lacking, "seccomp", "a network namespace"),
        _protection(Deed.START_PROCESSES, lacking, "seccomp"),
        _protection(Deed.TOUCH_PROCESSES, lacking, "seccomp"),
        _protection(Deed.WRITE_FILES, lacking, "Landlock", "seccomp"),
        _protection(Deed.READ_FILES, lacking, "Landlock"),
    )


def _give_up_privileges() -> None:
    kernel.refuse_new_privileges()
    kernel.drop_capabilities()


def _attempt(mechanism: Callable[[], None]) -> str:
    """Puts up a mechanism; why it is lacking, or nothing."""
    try:
        mechanism()
    except OSError as error:
        return error.strerror or str(error)
    return ""


def _protection(deed: Deed, lacking: Mapping[str, str], *mechanisms: str) -> Protection:
    """What keeps a worker from a deed, where each of the mechanisms would do."""
    tried = [each for each in mechanisms if each in lacking]
    holding = [each for each in tried if not lacking[each]]
    if holding:
        return Protection(deed, " and ".join(holding))
    return Protection(deed, "", "; ".join(f"{each}: {lacking[each]}" for each in tried))
