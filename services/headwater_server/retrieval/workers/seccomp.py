"""A filter of system calls for a process that reads hostile documents.

The filter names what is denied, not what is allowed: the numeric libraries differ from one release, processor and
system to the next in what they call, and a worker that dies of a harmless call reads nothing at all. Denied calls
return an error; they do not kill.

The filter is a program of the kernel's classic BPF over `struct seccomp_data` (seccomp(2)).
"""

from __future__ import annotations

import ctypes
import errno
import os
import struct
from collections.abc import Iterator, Sequence

from headwater_server.retrieval.workers import kernel
from headwater_server.retrieval.workers.syscalls import ARCHITECTURES, NUMBERS, Architecture, architecture, number

_SET_MODE_FILTER, _GET_ACTION_AVAILABLE = 1, 2
_ALL_THREADS = 1

_ALLOW = 0x7FFF0000
_KILL = 0x80000000
_ERROR = 0x00050000  # with the error's number in its low half

_LOAD, _EQUAL, _AT_LEAST, _ANY_BIT, _RETURN = 0x20, 0x15, 0x35, 0x45, 0x06
_NUMBER, _ARCHITECTURE, _ARGUMENTS = 0, 4, 16  # offsets in seccomp_data; arguments have 8 bytes, the low half first
_FOREIGN_NUMBERS = 0x40000000  # x32's calls, on x86-64

_THREAD = 0x10000  # CLONE_THREAD
_WRITING = 0o3 | 0o100 | 0o1000 | 0o2000  # O_ACCMODE, O_CREAT, O_TRUNC, O_APPEND; the same on both processors

_SPECIAL = {"clone", "open", "openat", "kill", "tgkill", "rt_sigqueueinfo", "rt_tgsigqueueinfo", "prlimit64"}
_UNKNOWN = {"clone3", "openat2"}  # their flags lie in memory, which no filter sees; libraries fall back to the old ones
_OURS = {"seccomp", "capget", "capset"}

Instruction = tuple[int, int, int, int]
"""Code, jump if true, jump if false (instructions to skip), and a constant."""


class _Program(ctypes.Structure):
    _fields_ = (("length", ctypes.c_ushort), ("instructions", ctypes.c_char_p))


def require() -> None:
    """Returns where there can be a filter, and changes nothing.

    Raises:
        OSError: The processor is not known here, or the kernel or the container has no filters.
    """
    kernel.call("seccomp", _GET_ACTION_AVAILABLE, 0, ctypes.byref(ctypes.c_uint32(_ERROR)))


def deny_system_calls() -> None:
    """Denies this process and all of its threads the network, other programs and processes, and changing files.

    What it may still do: use the descriptors that it has, open files to read them, start threads, end itself.

    Raises:
        OSError: As `require`; or `kernel.refuse_new_privileges` has not been called.
    """
    on = architecture()
    if on is None:
        raise OSError("the numbers of system calls are not known on this processor")
    code = b"".join(struct.pack("<HBBI", *instruction) for instruction in program(on, own=os.getpid()))
    filter_ = _Program(len(code) // 8, code)
    kernel.call("seccomp", _SET_MODE_FILTER, _ALL_THREADS, ctypes.byref(filter_))


def program(on: Architecture, *, own: int) -> Sequence[Instruction]:
    """The filter.

    Args:
        on: The processor.
        own: This process's id, the only one that it may send signals to.
    """
    return [
        (_LOAD, 0, 0, _ARCHITECTURE),
        (_EQUAL, 1, 0, on.audit),
        (_RETURN, 0, 0, _KILL),  # a call by another processor's table, whose numbers mean other calls
        (_LOAD, 0, 0, _NUMBER),
        *([(_AT_LEAST, 0, 1, _FOREIGN_NUMBERS), _refuse(errno.EPERM)] if on is ARCHITECTURES["x86_64"] else []),
        *_denials(on),
        *_conditions(on, own=own),
        (_RETURN, 0, 0, _ALLOW),
    ]


def _denials(on: Architecture) -> Iterator[Instruction]:
    for name in sorted(NUMBERS.keys() - _SPECIAL - _OURS):
        wanted = number(name, on=on)
        if wanted is not None:
            yield _EQUAL, 0, 1, wanted
            yield _refuse(errno.ENOSYS if name in _UNKNOWN else errno.EPERM)


def _conditions(on: Architecture, *, own: int) -> Iterator[Instruction]:
    yield from _only_if(on, "clone", argument=0, test=(_ANY_BIT, _THREAD))
    for name, argument in (("open", 1), ("openat", 2)):
        yield from _unless(on, name, argument=argument, test=(_ANY_BIT, _WRITING))
    for name in ("kill", "tgkill", "rt_sigqueueinfo", "rt_tgsigqueueinfo"):
        yield from _only_if(on, name, argument=0, test=(_EQUAL, own))
    yield from _only_if(on, "prlimit64", argument=0, test=(_EQUAL, 0))


def _only_if(on: Architecture, name: str, *, argument: int, test: tuple[int, int]) -> Iterator[Instruction]:
    """Allows a call where the test on the low half of an argument holds, and only there."""
    yield from _tested(on, name, argument=argument, test=test, true=(_RETURN, 0, 0, _ALLOW), false=_refuse(errno.EPERM))


def _unless(on: Architecture, name: str, *, argument: int, test: tuple[int, int]) -> Iterator[Instruction]:
    """Allows a call where the test on the low half of an argument does not hold."""
    yield from _tested(on, name, argument=argument, test=test, true=_refuse(errno.EPERM), false=(_RETURN, 0, 0, _ALLOW))


def _tested(
    on: Architecture, name: str, *, argument: int, test: tuple[int, int], true: Instruction, false: Instruction
) -> Iterator[Instruction]:
    wanted = number(name, on=on)
    if wanted is not None:
        yield _EQUAL, 0, 4, wanted
        yield _LOAD, 0, 0, _ARGUMENTS + 8 * argument
        yield test[0], 0, 1, test[1]
        yield true
        yield false


def _refuse(code: int) -> Instruction:
    return _RETURN, 0, 0, _ERROR | code
