"""The fixtures that several folders of tests share."""

from __future__ import annotations

from collections.abc import Iterator

import hypothesis
import pytest

from tests.serving import FRONT, FRONTS, HANDBOOK, headwater, serving

# No test fails for the time it takes. Hypothesis knows that by itself where CI is set, and has its own profile then.
hypothesis.settings.register_profile("unhurried", hypothesis.settings.default, deadline=None)
hypothesis.settings.load_profile("unhurried")


@pytest.fixture(scope="module", params=FRONTS)
def each_front(request: pytest.FixtureRequest) -> Iterator[str]:
    """Runs a module's tests on each front."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(FRONT, request.param)
        yield request.param


@pytest.fixture(scope="session")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a real server whose corpus `default` holds the demo's documents."""
    with serving(tmp_path_factory.mktemp("served") / "data") as server:
        imported = headwater("import", HANDBOOK, target=server.target)
        assert imported.returncode == 0, imported.stderr
        yield server.target
