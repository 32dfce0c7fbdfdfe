"""Generates the Python code of the protos, with the locked tools of `generate-requirements.txt`.

Run by `make generate`, in a virtual environment of its own. `--check` generates into a temporary folder instead and
fails if what is committed differs.
"""

from __future__ import annotations

import argparse
import filecmp
import importlib.metadata
import importlib.resources
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PROTOS = ROOT / "protos"
OUTPUT = ROOT / "clients" / "python"
PATTERNS = ("headwater/v1/*_pb2*.py*", "buf/validate/*_pb2*.py*")


def generate(target: Path) -> None:
    """Runs protoc over our protos and `buf/validate` (whose module PyPI does not have) into `target`."""
    well_known = importlib.resources.files("grpc_tools") / "_proto"
    plugins = Path(sys.executable).parent
    ours = sorted(str(path.relative_to(PROTOS)) for path in (PROTOS / "headwater" / "v1").glob("*.proto"))
    command = [sys.executable, "-m", "grpc_tools.protoc", f"-I{PROTOS}", f"-I{well_known}"]
    command += [f"--plugin=protoc-gen-{name}={plugins}/protoc-gen-{name}" for name in ("mypy", "mypy_grpc")]
    messages = [f"--python_out={target}", f"--mypy_out=quiet:{target}"]
    services = [f"--grpc_python_out={target}", f"--mypy_grpc_out=quiet:{target}"]
    subprocess.run([*command, *messages, *ours, "buf/validate/validate.proto"], check=True)
    with_services = [path for path in ours if path.endswith("_service.proto")]
    subprocess.run([*command, *services, *with_services], check=True)


def generated_files(folder: Path) -> set[str]:
    """Lists the generated files under `folder`, relative to it."""
    return {str(path.relative_to(folder)) for pattern in PATTERNS for path in folder.glob(pattern)}


def differences(fresh: Path) -> list[str]:
    """Lists the generated files that are missing, stale or left over in the working tree."""
    expected, actual = generated_files(fresh), generated_files(OUTPUT)
    stale = {name for name in expected & actual if not filecmp.cmp(fresh / name, OUTPUT / name, shallow=False)}
    return sorted((expected ^ actual) | stale)


def main() -> int:
    """Generates, or checks; returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="compare with what is committed instead of writing it")
    arguments = parser.parse_args()
    print(f"grpcio-tools {importlib.metadata.version('grpcio-tools')}", file=sys.stderr)
    with tempfile.TemporaryDirectory() as folder:
        fresh = Path(folder)
        generate(fresh)
        if arguments.check:
            wrong = differences(fresh)
            for name in wrong:
                print(f"clients/python/{name} is not what the protos generate: run `make generate`", file=sys.stderr)
            return 1 if wrong else 0
        for name in generated_files(OUTPUT) - generated_files(fresh):
            (OUTPUT / name).unlink()
        for name in generated_files(fresh):
            (OUTPUT / name).parent.mkdir(parents=True, exist_ok=True)
            (OUTPUT / name).write_bytes((fresh / name).read_bytes())
    return 0


if __name__ == "__main__":
    sys.exit(main())
