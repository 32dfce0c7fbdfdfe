from __future__ import annotations

import errno
import sqlite3
from types import SimpleNamespace

import pytest

from headwater import _exceptions as exc
from headwater._cli.failures import CommandFailed, describe, explained
from headwater._cli.serve import server_failure
from headwater_server.runtime.data_dir import DataDirError
from headwater_server.runtime.server import PortInUse
from headwater_server.runtime.settings import SettingsError

SETTINGS = SimpleNamespace(data_dir="/data/headwater")


@pytest.mark.parametrize(
    "error",
    [
        OSError(errno.ENOSPC, "No space left on device", "/data/headwater/x"),
        sqlite3.OperationalError("database or disk is full"),
        ExceptionGroup("tasks", [OSError(errno.ENOSPC, "No space left on device")]),
    ],
)
def test_a_full_disk_is_said_with_its_folder_and_what_to_do(error: Exception) -> None:
    failure = server_failure(error, SETTINGS)
    assert "/data/headwater is full" in failure.message
    assert "--data-dir" in failure.message
    assert failure.code == 1


@pytest.mark.parametrize(
    ("error", "code"), [(SettingsError("wrong"), 2), (DataDirError("taken"), 1), (PortInUse("used"), 1)]
)
def test_a_server_that_cannot_start_says_why_even_from_within_task_groups(error: Exception, code: int) -> None:
    failure = server_failure(ExceptionGroup("outer", [ExceptionGroup("inner", [error])]), SETTINGS)
    assert (failure.message, failure.code) == (str(error), code)


def test_a_defect_is_told_as_one_without_its_traceback() -> None:
    message, code = explained(ZeroDivisionError("division by zero"))
    assert (
        message == "this should not have happened: ZeroDivisionError: division by zero (HEADWATER_DEBUG=1 shows where)"
    )
    assert code == 1


@pytest.mark.parametrize(
    ("error", "code"),
    [(exc.ArgumentError("a"), 2), (exc.NotFound("a"), 1), (CommandFailed("a", code=7), 7), (OSError("a"), 1)],
)
def test_every_failure_has_its_exit_code(error: Exception, code: int) -> None:
    assert explained(error) == ("a", code)


@pytest.mark.parametrize(
    ("error", "hint"),
    [
        (exc.NotFound("corpora/x does not exist", resource="corpora/x"), "--corpus x"),
        (exc.Unauthenticated("no token"), "HEADWATER_TOKEN"),
        (
            exc.ConnectionFailed("cannot reach a Headwater server at h:1: x; last error: UNKNOWN: no such host"),
            "--target",
        ),
        (exc.ProviderUnavailable("openai cannot be reached"), "OPENAI_BASE_URL"),
        (exc.InvalidRequest("wrong", violations=[exc.FieldViolation("prompt", "too long")]), "prompt: too long"),
    ],
)
def test_what_to_do_is_said_where_it_is_known(error: exc.HeadwaterError, hint: str) -> None:
    assert hint in describe(error)


def test_a_server_that_stops_says_again_once() -> None:
    assert describe(exc.ServerDraining("the server stops; ask again")).count("again") == 1
