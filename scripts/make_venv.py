"""Makes a virtual environment of this repository: the packages of a lock, by their hashes, and projects of its own.

Run by `make venv` and its like, with the Python that the environment is to have, which may be too old: only the
standard library is at hand. An environment that is there already is brought up to date.
"""

from __future__ import annotations

import argparse
import importlib.util
import re
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
OLDEST = (3, 11)
SECONDS_BETWEEN_LINES = 5


def complaint() -> str | None:
    """Says what this Python lacks to make the environment. None: nothing."""
    version = "{}.{}".format(*sys.version_info[:2])
    if sys.version_info < OLDEST:
        return f"{sys.executable} is Python {version}, and Headwater needs 3.11 or newer: `make venv PYTHON=python3.11`"
    if importlib.util.find_spec("venv") is None or importlib.util.find_spec("ensurepip") is None:
        return (
            f"{sys.executable} cannot make virtual environments: install its venv package "
            f"(Debian, Ubuntu: `apt install python3-venv`, or python{version}-venv)"
        )
    return None


def fits(python: Path) -> bool:
    """Whether an environment's Python runs and is of the version that runs this."""
    program = "import pip, sys; print(sys.version_info[:2])"
    try:
        done = subprocess.run([python, "-c", program], capture_output=True, text=True, check=False)
    except OSError:
        return False
    return done.stdout.strip() == str(sys.version_info[:2])


def install(python: Path, *arguments: str) -> None:
    """Runs pip, and shows how far it is.

    Raises:
        SystemExit: pip failed; what it said has been shown.
    """
    command = [str(python), "-m", "pip", "install", "--disable-pip-version-check", "--no-input", "--progress-bar=off"]
    said: list[str] = []
    last_shown = time.monotonic()
    collected = 0
    with subprocess.Popen(
        [*command, *arguments], cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as pip:
        for line in pip.stdout or ():
            said.append(line)
            collected += line.startswith("Collecting ")
            if collected and line.startswith("Installing collected packages"):
                show("all fetched, unpacking")
            elif time.monotonic() - last_shown > SECONDS_BETWEEN_LINES and line.startswith("Collecting "):
                show(f"package {collected}: {line.split()[1]}")
                last_shown = time.monotonic()
    if pip.returncode:
        sys.exit("".join(said[-40:]) + f"pip could not install {' '.join(arguments)}: what it said stands above")


def show(line: str) -> None:
    """Prints a line of progress at once."""
    print(f"  {line}", flush=True)


def main() -> None:
    """Makes the environment, or brings it up to date.

    Raises:
        SystemExit: It cannot be made; the message says what to do.
    """
    parser = argparse.ArgumentParser(description="Make a virtual environment, or bring it up to date.")
    parser.add_argument("folder", help="the environment's folder")
    parser.add_argument("lock", help="the file of the pinned packages")
    parser.add_argument("--editable", nargs="+", default=[], metavar="FOLDER", help="projects to install in place")
    options = parser.parse_args()
    if problem := complaint():
        sys.exit(problem)
    folder, lock = ROOT / options.folder, ROOT / options.lock
    python = folder / "bin" / "python"
    pins = len(re.findall(r"(?m)^[\w.-]+==", lock.read_text(encoding="utf-8")))
    print(f"{options.folder}: installing {options.lock}, {pins} pins", flush=True)
    if not fits(python):
        made = subprocess.run([sys.executable, "-m", "venv", "--clear", folder], check=False)
        if made.returncode:
            sys.exit(f"{sys.executable} could not make {folder}: what it said stands above")
    install(python, "--require-hashes", "--no-deps", "--requirement", str(lock))
    for project in options.editable:
        install(python, "--no-deps", "--no-build-isolation", "--editable", str(ROOT / project))
    print(f"{options.folder}: ready", flush=True)


if __name__ == "__main__":
    main()
