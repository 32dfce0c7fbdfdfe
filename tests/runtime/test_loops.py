from __future__ import annotations

import sys

import anyio

from headwater_server.runtime.loops import backend_options, loop_name


def test_the_loop_is_the_quicker_one_where_it_is_installed() -> None:
    async def name() -> str:
        return loop_name()

    expected = "asyncio" if sys.platform == "win32" else "uvloop"
    assert anyio.run(name, backend_options=backend_options()) == expected
    assert anyio.run(name) == "asyncio"
