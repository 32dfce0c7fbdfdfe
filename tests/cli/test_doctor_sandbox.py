from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace

import pytest

from headwater._cli import checks
from headwater_server.retrieval.workers.sandbox import Deed, Protection
from tests.serving import headwater


def test_it_says_what_documents_are_kept_from_on_this_machine(tmp_path: Path) -> None:
    done = headwater("doctor", "--json", extra={"HEADWATER_DATA_DIR": str(tmp_path / "data")})
    findings = [json.loads(line) for line in done.stdout.splitlines()]
    (sandbox,) = [finding for finding in findings if finding["subject"] == "sandbox"]
    assert sandbox["verdict"] in {"ok", "note"}
    for deed in Deed:
        assert deed.value in sandbox["detail"]


def test_it_says_what_is_lacking_and_why(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    protections = (
        Protection(Deed.USE_NETWORK, "seccomp"),
        Protection(Deed.START_PROCESSES, "seccomp"),
        Protection(Deed.READ_FILES, "", "Landlock: Function not implemented"),
    )
    monkeypatch.setattr(checks, "server_module", lambda _: SimpleNamespace(probe=lambda **_: protections))
    finding = checks.sandbox_finding(tmp_path)
    assert finding.verdict == "note"
    assert "could read other files (Landlock: Function not implemented)" in finding.detail
    assert "cannot use the network, start programs or processes (by seccomp)" in finding.detail
    assert finding.advice


def test_a_machine_on_which_no_document_could_be_read_has_a_problem(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def probe(**_: Path) -> tuple[Protection, ...]:
        raise OSError("no process can be started")

    monkeypatch.setattr(checks, "server_module", lambda _: SimpleNamespace(probe=probe))
    finding = checks.sandbox_finding(tmp_path)
    assert (finding.verdict, finding.detail) == ("problem", "no process can be started")
