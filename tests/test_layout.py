"""Holds the repository to its layout: what the wheel has, who may import whom, and what no file may name."""

from __future__ import annotations

import ast
import os
import re
import subprocess
import sys
import tomllib
import zipfile
from collections.abc import Iterator
from email import message_from_bytes
from pathlib import Path

import pytest
from packaging.requirements import Requirement

ROOT = Path(__file__).resolve().parent.parent
CLIENT = ROOT / "clients" / "python" / "headwater"
SERVICES = ROOT / "services" / "headwater_server"
CLIENT_DEPENDENCIES = {"grpcio", "protobuf", "googleapis-common-protos", "google-crc32c"}
CLIENT_IMPORTS = {"headwater", "buf", "grpc", "google", "google_crc32c"}

# Put together, so that this file does not have what it looks for.
MACHINE_PATH = re.compile(r"(?<![\w.~-])/(?:" + "|".join(("work", "root", "farm")) + r")/")
REGISTRY_HOST = re.compile(
    "|".join(("pypi" + r"\.org", "pythonhosted" + r"\.org", "registry" + r"\.npmjs", "npm" + "mirror"))
)
LOCKS = ("*requirements*.txt", "*.lock", "package-lock.json")
CARGO_REGISTRY = (
    "registry+https://github.com/rust-lang/crates.io-index"  # Cargo's own name of it, wherever it was fetched from
)


@pytest.fixture(scope="session")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> zipfile.Path:
    """Builds the wheel from this checkout, without a network."""
    folder = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "hatchling", "build", "--target", "wheel", "--directory", str(folder)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    (built,) = folder.glob("*.whl")
    return zipfile.Path(built)


@pytest.fixture(scope="session")
def files() -> list[Path]:
    """Lists what is or would be committed, as paths from the root of the repository."""
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"]
    listed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)
    if listed.returncode and not os.environ.get("CI"):
        pytest.skip("this is no git checkout")
    assert listed.returncode == 0, listed.stderr
    return [Path(name) for name in listed.stdout.split("\0") if name and (ROOT / name).is_file()]


def text_of(path: Path) -> str | None:
    """Reads a file of the repository. None: it is not text."""
    content = (ROOT / path).read_bytes()
    try:
        return None if b"\0" in content else content.decode()
    except UnicodeDecodeError:
        return None


def imports(path: Path) -> Iterator[tuple[str, bool]]:
    """Yields each module that a file imports, and whether it does so lazily, inside a function."""
    yield from _imports(ast.parse(path.read_text(encoding="utf-8")), lazily=False)


def _imports(node: ast.AST, *, lazily: bool) -> Iterator[tuple[str, bool]]:
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.Import):
            yield from ((name.name, lazily) for name in child.names)
        elif isinstance(child, ast.ImportFrom):
            assert child.level == 0, "imports are absolute"
            yield from ((f"{child.module}.{name.name}", lazily) for name in child.names)
        inside = lazily or isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef)
        yield from _imports(child, lazily=inside)


def modules(package: Path) -> list[Path]:
    found = sorted(package.rglob("*.py"))
    assert found, f"{package} has no modules"
    return found


def is_command_line(module: Path) -> bool:
    return module.relative_to(CLIENT).parts[0].startswith("_cli")


def test_the_wheel_has_these_top_level_names_and_no_others(wheel: zipfile.Path) -> None:
    names = {entry.name for entry in wheel.iterdir()}
    (dist_info,) = (name for name in names if name.endswith(".dist-info"))
    assert names - {dist_info} == {"headwater", "headwater_server", "buf"}
    assert re.fullmatch(r"headwater-[\d.]+\.dist-info", dist_info)


def test_the_wheel_has_every_module_and_data_file_of_its_packages(wheel: zipfile.Path, files: list[Path]) -> None:
    roots = (Path("clients/python"), Path("services"))
    expected = {
        str(path.relative_to(root))
        for root in roots
        for path in files
        if path.is_relative_to(root) and path.relative_to(root).parts[0] in ("headwater", "headwater_server", "buf")
    }
    actual = {name for name in wheel.root.namelist() if not name.endswith("/")}
    assert expected - actual == set()
    assert {name for name in actual - expected if ".dist-info/" not in name} == set()


def test_a_bare_installation_needs_the_client_s_dependencies_and_no_others(wheel: zipfile.Path) -> None:
    (dist_info,) = (entry for entry in wheel.iterdir() if entry.name.endswith(".dist-info"))
    metadata = message_from_bytes((dist_info / "METADATA").read_bytes())
    requirements = [Requirement(line) for line in metadata.get_all("Requires-Dist", [])]
    bare = {r.name for r in requirements if r.marker is None or r.marker.evaluate({"extra": ""})}
    assert bare == CLIENT_DEPENDENCIES
    assert set(metadata.get_all("Provides-Extra", [])) >= {"cli", "serve"}


@pytest.mark.parametrize("module", modules(CLIENT), ids=lambda path: str(path.relative_to(CLIENT)))
def test_the_client_imports_nothing_that_a_bare_installation_lacks(module: Path) -> None:
    tops = {(name.split(".")[0], lazily) for name, lazily in imports(module)}
    foreign = {top for top in tops if top[0] not in CLIENT_IMPORTS | sys.stdlib_module_names}
    if is_command_line(module):
        assert ("headwater_server", False) not in foreign, "the command line imports the server only where it needs it"
    else:
        assert not foreign


def test_nothing_in_the_services_but_runtime_knows_grpc() -> None:
    users = {path for path in modules(SERVICES) if any(_is_grpc(name) for name, _ in imports(path))}
    assert {path.relative_to(SERVICES).parts[0] for path in users} == {"runtime"}


def _is_grpc(module: str) -> bool:
    return module.startswith("grpc") or "_pb2_grpc" in module


def test_httpx_stays_in_the_modules_of_http() -> None:
    users = {
        path.relative_to(SERVICES) for path in modules(SERVICES) if any(n.startswith("httpx") for n, _ in imports(path))
    }
    assert users <= {Path("outgoing/http.py"), Path("outgoing/transport.py")}


def test_no_file_names_a_path_of_one_machine(files: list[Path]) -> None:
    found = {str(path): match.group() for path in files if (match := MACHINE_PATH.search(text_of(path) or ""))}
    assert found == {}


def test_no_file_names_the_host_of_a_registry(files: list[Path]) -> None:
    found = {str(path): match.group() for path in files if (match := REGISTRY_HOST.search(text_of(path) or ""))}
    assert found == {}


def test_locks_name_no_address_that_packages_were_fetched_from(files: list[Path]) -> None:
    locks = [path for path in files if any(path.match(pattern) for pattern in LOCKS)]
    assert {"requirements.lock", "Cargo.lock", "package-lock.json"} <= {path.name for path in locks}
    for path in locks:
        lines = (text_of(path) or "").replace(CARGO_REGISTRY, "").splitlines()
        fetched = [
            line for line in lines if "://" in line and '"url": ' not in line
        ]  # `url` is where to fund a package
        assert fetched == [], path


def test_generated_code_says_so_and_is_marked(files: list[Path]) -> None:
    headers = {".py": "Generated by ", ".pyi": "Generated by ", ".go": "Code generated by ", ".rs": "@generated"}
    generated = [
        path
        for path in files
        if re.search(r"_pb2(_grpc)?\.pyi?$|\.pb\.go$", path.name) or path.is_relative_to("clients/rust/src/generated")
    ]
    assert {path.suffix for path in generated} == set(headers)
    for path in generated:
        opening = (text_of(path) or "")[:500]
        assert headers[path.suffix] in opening or opening.startswith('"""\n@generated by '), path
    command = ["git", "check-attr", "linguist-generated", "--", *map(str, generated)]
    attributes = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60, check=True).stdout
    assert [line for line in attributes.splitlines() if not line.endswith(": set")] == []


def test_the_versions_of_the_two_distributions_agree_with_what_pins_them() -> None:
    main, model = (
        tomllib.loads((ROOT / folder / "pyproject.toml").read_text(encoding="utf-8"))["project"]
        for folder in (".", "services/minilm")
    )
    assert f"headwater-minilm=={model['version']}" in main["optional-dependencies"]["serve"]


def test_the_readme_stays_short() -> None:
    assert len((ROOT / "README.md").read_text(encoding="utf-8").splitlines()) < 200
