"""What `headwater doctor` finds out about this machine, without starting anything."""

from __future__ import annotations

import fcntl
import hashlib
import importlib.metadata
import importlib.util
import json
import os
import platform
import re
import shutil
import ssl
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from headwater._cli.embedder_checks import embedder_findings
from headwater._cli.failures import CommandFailed
from headwater._cli.findings import Finding
from headwater._cli.serve import load_settings
from headwater._cli.server_extra import is_installed, server_module
from headwater._cli.terminal import size
from headwater._version import __version__

_LITTLE_SPACE = 1_000_000_000
_REQUIREMENT = re.compile(r"^([A-Za-z0-9._-]+)")


def local_findings(config: Path | None) -> Iterator[Finding]:
    """Looks at the installation, the settings, the data folder, the assistants and the certificates."""
    yield _installation()
    yield from _extras()
    if not is_installed():
        return
    yield _model()
    try:
        settings = load_settings(config=config, flags={})
    except CommandFailed as error:
        yield Finding("settings", "problem", error.message, "correct them where they are set")
        return
    named = config or os.environ.get("HEADWATER_CONFIG")
    yield Finding("settings", "ok", f"from {named} and HEADWATER_…" if named else "no file; defaults and HEADWATER_…")
    yield from _data_folder(Path(settings.data_dir))
    yield sandbox_finding(Path(settings.data_dir))
    yield from _assistants(settings)
    yield from embedder_findings(settings)
    yield _tls(settings)


def _installation() -> Finding:
    versions = ", ".join(f"{name} {_version(name)}" for name in ("grpcio", "protobuf", "typer", "rich"))
    python = f"Python {platform.python_version()} ({sys.executable})"
    return Finding(
        "headwater", "ok", f"{__version__} on {python}, {platform.system()} {platform.machine()}; {versions}"
    )


def _extras() -> Iterator[Finding]:
    try:
        requirements = importlib.metadata.requires("headwater") or []
    except importlib.metadata.PackageNotFoundError:
        yield Finding("packages", "note", "headwater is run from its sources, not installed")
        requirements = []
    wanted = [
        match.group()
        for requirement in requirements
        if re.search(r"extra == .serve.", requirement) and (match := _REQUIREMENT.match(requirement))
    ]
    missing = sorted(name for name in wanted if name != "headwater" and _version(name) == "not installed")
    if is_installed() and not missing:
        yield Finding("server", "ok", f"installed, {len(wanted)} packages" if wanted else "installed")
    elif is_installed():
        yield Finding("server", "problem", f"these are missing: {', '.join(missing)}", 'pip install "headwater[serve]"')
    else:
        advice = 'pip install "headwater[serve]", to run a server or to ask about local files'
        yield Finding("server", "note", "not installed: this is a client only", advice)


def _model() -> Finding:
    advice = "pip install --force-reinstall headwater-minilm"
    if importlib.util.find_spec("headwater_minilm") is None:
        return Finding(
            "embedding model", "problem", "headwater-minilm is not installed", "pip install headwater-minilm"
        )
    shipped: Any = importlib.import_module("headwater_minilm")
    for path, expected in (
        (shipped.MODEL_PATH, shipped.MODEL_SHA256),
        (shipped.TOKENIZER_PATH, shipped.TOKENIZER_SHA256),
    ):
        try:
            with path.open("rb") as file:
                found = hashlib.file_digest(file, "sha256").hexdigest()
        except OSError as error:
            return Finding("embedding model", "problem", f"{path} cannot be read: {error.strerror}", advice)
        if found != expected:
            return Finding("embedding model", "problem", f"{path} is damaged: its checksum is wrong", advice)
    return Finding("embedding model", "ok", f"{shipped.MODEL_NAME}, checksums right")


def _data_folder(path: Path) -> Iterator[Finding]:
    existing = next(folder for folder in (path, *path.parents) if folder.exists())
    if not os.access(existing, os.W_OK | os.X_OK):
        advice = "choose another with --data-dir or HEADWATER_DATA_DIR"
        yield Finding("data folder", "problem", f"{path} cannot be written", advice)
        return
    free = shutil.disk_usage(existing).free
    state = f"in use by {owner}" if (owner := _owner(path)) else "free" if path.exists() else "not there yet"
    detail = f"{path}, {state}, {size(free)} of disk left"
    if free < _LITTLE_SPACE:
        yield Finding("data folder", "problem", detail, "make room on this disk, or choose another with --data-dir")
    else:
        yield Finding("data folder", "ok", detail)


def sandbox_finding(data_dir: Path) -> Finding:
    """What documents are kept from in the processes that read them; tried in one that is made for it."""
    try:
        protections = server_module("retrieval.workers.probe").probe(private=data_dir)
    except OSError as error:
        return Finding("sandbox", "problem", str(error), "no document can be read until such a process can be started")
    kept: dict[str, list[str]] = {}
    for each in protections:
        kept.setdefault(each.by, []).append(each.deed)
    missing = "; ".join(f"{each.deed} ({each.lacking})" for each in protections if not each.by)
    kept.pop("", None)
    held = "; ".join(f"{', '.join(deeds)} (by {by})" for by, deeds in kept.items())
    if not missing:
        return Finding("sandbox", "ok", f"documents cannot {held}")
    advice = "read none that you do not trust, or run the server where the kernel and the container have these"
    detail = f"documents that exploit a parser could {missing}" + (f"; they cannot {held}" if held else "")
    return Finding("sandbox", "note", detail, advice)


def _owner(path: Path) -> str:
    """Who has the data folder; empty if nobody has."""
    try:
        with (path / server_module("runtime.data_dir").LOCK_NAME).open("rb") as lock:
            try:
                fcntl.flock(lock.fileno(), fcntl.LOCK_SH | fcntl.LOCK_NB)
            except BlockingIOError:
                signed = json.loads(lock.read(4096))
                return f"process {signed['pid']} ({signed['what']})"
    except OSError:
        return ""
    except (ValueError, KeyError, TypeError):
        return "another process"
    return ""


def _assistants(settings: Any) -> Iterator[Finding]:
    configs = server_module("assistant.config")
    registries = server_module("assistant.registry")
    try:
        registry = registries.ProviderRegistry(server_module("runtime.app").assistant_config(settings))
    except configs.AssistantConfigError as error:
        yield Finding("assistants", "problem", str(error), "correct it in the settings, or set what it names")
        return
    extractive = registry.default == configs.DEFAULT_ASSISTANT
    yield Finding(
        "assistant",
        "note" if extractive else "ok",
        f"{registry.default}{', which quotes sentences and needs no model' if extractive else ''}",
        "for a language model set --assistant or HEADWATER_ASSISTANT to provider/model" if extractive else "",
    )
    for name in registry.names:
        if name != "builtin":
            provider = registry.settings(name)
            key = "a key is set" if provider.api_key else "no key"
            yield Finding(f"provider {name}", "ok", f"{provider.base_url or 'its own address'}, {key}")
    if "openai" not in registry.names:
        yield Finding(
            "provider openai", "note", "not set up", "set OPENAI_API_KEY, or OPENAI_BASE_URL for a compatible server"
        )


def _tls(settings: Any) -> Finding:
    try:
        server_module("runtime.security").check_exposure(settings)
    except server_module("runtime.settings").SettingsError as error:
        return Finding("TLS", "problem", str(error))
    if settings.tls.cert is None:
        exposed = "" if settings.insecure is False else " (insecure is set)"
        return Finding("TLS", "ok", f"not set up; {settings.address} needs none{exposed}")
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(settings.tls.cert, settings.tls.key)
    except (ssl.SSLError, OSError) as error:
        advice = "check tls.cert and tls.key: PEM, readable, and belonging together"
        return Finding("TLS", "problem", f"{settings.tls.cert} and {settings.tls.key} cannot be used: {error}", advice)
    return Finding("TLS", "ok", f"certificate {settings.tls.cert}")


def _version(distribution: str) -> str:
    try:
        return importlib.metadata.version(distribution)
    except importlib.metadata.PackageNotFoundError:
        return "not installed"
