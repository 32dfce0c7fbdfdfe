from __future__ import annotations

import subprocess
import sys

import pytest

from headwater import __version__
from tests.serving import HANDBOOK, environment, headwater

_ABSENT = """
import sys
from importlib.machinery import PathFinder

absent, find_spec = {absent!r}, PathFinder.find_spec


def find_others(cls, name, *more):
    return None if name.partition(".")[0] in absent else find_spec(name, *more)


PathFinder.find_spec = classmethod(find_others)
sys.argv = ["headwater", *{arguments!r}]

from headwater._cli import main

main()
"""


def without(absent: list[str], *arguments: str) -> subprocess.CompletedProcess[str]:
    """Runs the command line where some packages are not to be found."""
    return subprocess.run(
        [sys.executable, "-c", _ABSENT.format(absent=absent, arguments=arguments)],
        capture_output=True,
        text=True,
        timeout=60,
        env=environment(),
        check=False,
    )


@pytest.mark.parametrize("missing", ["typer", "rich"])
def test_without_the_cli_extra_one_line_says_how_to_install_it(missing: str) -> None:
    done = without([missing], "ask", "What?")
    assert done.returncode == 1
    assert done.stderr == 'headwater: the command line is not installed: pip install "headwater[cli]"\n'


@pytest.mark.parametrize("missing", ["headwater_server", "anyio"])
@pytest.mark.parametrize("command", [["serve"], ["ask", "What?", str(HANDBOOK)]])
def test_without_the_server_extra_one_line_says_how_to_install_it(missing: str, command: list[str]) -> None:
    done = without([missing], *command)
    assert done.returncode == 1
    assert 'pip install "headwater[serve]"' in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_without_the_server_extra_doctor_says_so() -> None:
    done = without(["onnxruntime"], "doctor", "--json")
    assert "this is a client only" in done.stdout
    assert "headwater[serve]" in done.stdout


@pytest.mark.parametrize("arguments", [["--help"], ["--version"]])
def test_help_and_version_import_neither_grpc_nor_a_command(arguments: list[str]) -> None:
    program = (
        f"import atexit, sys; sys.argv = ['headwater', *{arguments!r}]; "
        "atexit.register(lambda: print(sorted(sys.modules))); from headwater._cli import main; main()"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=60, env=environment(), check=True
    )
    modules = done.stdout.splitlines()[-1]
    for heavy in ("grpc", "google.protobuf", "headwater_server", "headwater._client", "headwater._cli.ask"):
        assert f"'{heavy}'" not in modules


def test_version_is_the_distribution_s() -> None:
    assert headwater("--version").stdout == f"headwater {__version__}\n"


@pytest.mark.parametrize(
    "command",
    [
        "serve",
        "import",
        "ask",
        "retrieve",
        "corpora",
        "documents",
        "assistants",
        "doctor",
        "corpora create",
        "documents get",
        "chat",
        "chats",
        "chats export",
        "answers",
        "answers resume",
    ],
)
def test_every_command_has_help(command: str) -> None:
    done = headwater(*command.split(), "--help")
    assert done.returncode == 0, done.stderr
    assert f"Usage: headwater {command}" in done.stdout
    assert "takes this one's place" not in done.stdout


def test_a_command_that_does_not_exist_is_refused_in_one_line() -> None:
    done = headwater("aks")
    assert done.returncode == 2
    assert "aks" in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_debug_shows_where_it_happened() -> None:
    done = headwater("corpora", "list", target="127.0.0.1:1", extra={"HEADWATER_DEBUG": "1"})
    assert done.returncode == 1
    assert "Traceback" in done.stderr
    assert "ConnectionFailed" in done.stderr


@pytest.mark.parametrize("group", [[], ["corpora"], ["documents"], ["chats"], ["answers"]])
def test_a_group_without_a_command_shows_its_help_as_it_is(group: list[str]) -> None:
    done = headwater(*group)
    asked_for = headwater(*group, "--help")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == asked_for.stdout


def test_a_role_that_does_not_exist_is_refused_with_those_that_do() -> None:
    done = headwater("serve", "banana")
    assert (done.returncode, done.stdout) == (2, "")
    assert "'banana' is not one of 'all', 'retrieval'" in done.stderr
    assert "error" not in done.stderr.lower()
