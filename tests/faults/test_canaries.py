"""No secret of the settings, of a caller or of a provider gets out of a whole server."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.faults.canaries.leaking import WAYS
from tests.faults.canaries.looking import Watch
from tests.faults.canaries.run import APIS, run


def test_no_secret_is_in_a_status_a_log_a_representation_or_a_file(tmp_path: Path) -> None:
    found = run(tmp_path, seed=20261123)
    assert found["failures"] >= 2 * len(APIS) * len(WAYS), "every way to fail was met, by hand and by the client"


@pytest.mark.parametrize("form", ["{}", "x{}y", "{:.20}***", "...{:.14}"])
def test_a_secret_is_found_whole_and_in_part(form: str) -> None:
    watch = Watch({"the key": "sk-0123456789abcdefghij"})
    watch.look("statuses", "a status", f"said {form.format('sk-0123456789abcdefghij')}")
    assert watch.leaks
    watch = Watch({"the key": "sk-0123456789abcdefghij"})
    watch.look("statuses", "a status", "sk-01234***ghij")
    assert not watch.leaks, "so much is what providers tell keys apart by"
