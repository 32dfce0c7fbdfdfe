"""The store that docs/writing-a-store.md writes passes the suite of all stores."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from types import ModuleType
from typing import cast

import pytest

from headwater_server.retrieval.store.protocol import Store
from tests.docs.fences import ROOT, fences
from tests.retrieval.store.conformance import StoreConformance, corpus

__all__ = ["corpus"]

pytestmark = pytest.mark.anyio

PAGE = ROOT / "docs/writing-a-store.md"


@pytest.fixture(scope="module")
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(scope="module")
def store() -> Iterator[Store]:
    module = ModuleType("store_of_the_page")
    sys.modules[module.__name__] = module  # dataclasses look their module up
    for fence in fences(PAGE):
        if fence.runs and "anyio.run" not in fence.code:
            exec(compile("\n" * (fence.line - 1) + fence.code, str(PAGE), "exec"), module.__dict__)  # noqa: S102 (the page's own code)
    yield cast("Store", module.MemoryStore())
    del sys.modules[module.__name__]


class TestStoreOfThePage(StoreConformance):
    pass
