"""System calls that Python has no functions for, by ctypes; Linux only."""

from __future__ import annotations

import ctypes
import functools
import os
from typing import Any

from headwater_server.retrieval.workers.syscalls import architecture, number

_SET_NO_NEW_PRIVILEGES = 38
_CAPABILITY_VERSION_3 = 0x20080522
_READ_SEARCH = 1 << 2


class _CapabilityHeader(ctypes.Structure):
    _fields_ = (("version", ctypes.c_uint32), ("pid", ctypes.c_int))


class _CapabilityData(ctypes.Structure):
    _fields_ = (("effective", ctypes.c_uint32), ("permitted", ctypes.c_uint32), ("inheritable", ctypes.c_uint32))


def call(name: str, *arguments: int | Any) -> int:
    """Makes a system call.

    Args:
        name: Its name, one of `syscalls.NUMBERS`.
        arguments: Integers, and pointers as ctypes makes them.

    Raises:
        OSError: It failed, or this processor's number for it is not known.
    """
    on = architecture()
    wanted = number(name, on=on) if on else None
    if wanted is None:
        raise OSError(f"the number of {name} is not known on this processor")
    return call_number(wanted, *arguments)


def call_number(wanted: int, *arguments: int | Any) -> int:
    """Makes the system call of a number that is the same on every processor, or was looked up.

    Raises:
        OSError: It failed.
    """
    as_passed = [ctypes.c_long(each) if isinstance(each, int) else each for each in arguments]
    return _checked(_libc().syscall(ctypes.c_long(wanted), *as_passed))


def refuse_new_privileges() -> None:
    """No program that this process starts can ever have more rights than it; the kernel wants that before a filter.

    Raises:
        OSError: The kernel does not know it.
    """
    _checked(_libc().prctl(_SET_NO_NEW_PRIVILEGES, ctypes.c_ulong(1), ctypes.c_ulong(0), ctypes.c_ulong(0), 0))


def drop_capabilities() -> None:
    """Gives up what root may do beyond others, but for reading: a server of root's may be installed for another user.

    Raises:
        OSError: The kernel refused.
    """
    header = _CapabilityHeader(_CAPABILITY_VERSION_3, 0)
    data = (_CapabilityData * 2)()  # bits 0 to 31, and 32 to 63
    call("capget", ctypes.byref(header), ctypes.byref(data))
    kept = data[0].permitted & _READ_SEARCH
    data[0] = _CapabilityData(kept, kept, 0)
    data[1] = _CapabilityData(0, 0, 0)
    call("capset", ctypes.byref(header), ctypes.byref(data))


def enter_empty_network() -> None:
    """Moves this process, which must have one thread, into a network namespace that has nothing, by a user namespace.

    Raises:
        OSError: The kernel or the container does not allow it.
    """
    new_user, new_network = 0x10000000, 0x40000000
    _checked(_libc().unshare(new_user | new_network))


@functools.cache
def _libc() -> ctypes.CDLL:
    return ctypes.CDLL(None, use_errno=True)


def _checked(result: int) -> int:
    if result < 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))
    return result
