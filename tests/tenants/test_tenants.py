"""Two tenants on one server see nothing of each other: a sample of `python -m tests.tenants`."""

from __future__ import annotations

import asyncio
import random
from pathlib import Path
from typing import Any

import grpc
import pytest

from tests.tenants.driver import run
from tests.tenants.tenant import Ledger, Tenant, parts
from tests.tenants.wire import METHODS, Channel, Reply

OPERATIONS = 2_000


def test_no_byte_of_a_tenant_is_in_a_reply_to_the_other(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    seed = random.SystemRandom().randrange(10**6)
    print(f"seed {seed}")  # noqa: T201 (pytest shows it with a failure)
    found = asyncio.run(run(OPERATIONS, seed=seed, folder=tmp_path))
    with capsys.disabled():
        print(f" {found['operations']} operations in {found['seconds']} s", end="")  # noqa: T201 (told)
    assert found["methods"] == len(METHODS), "every method was called"
    assert found["foreign"] > OPERATIONS / 10, "the tenants tried to use each other's names"
    assert found["own_marks"] > OPERATIONS / 10, "and had replies in which there was something to see"


@pytest.fixture
async def tenants() -> Any:
    made = [Tenant(name, "t", f"mark{name}", f"the-id{name}", Channel("127.0.0.1:1", "t")) for name in ("a", "b")]
    yield made
    for tenant in made:
        await tenant.channel.close()


@pytest.mark.anyio
@pytest.mark.parametrize(
    "reply",
    [
        Reply(messages=[b"\n\x10the markb of it"]),
        Reply(grpc.StatusCode.NOT_FOUND, words="there is no corpora/the-idb-17"),
        Reply(headers=[("x-of", b"markb")]),
        Reply(messages=[b"\n\x2aanswers/0123456789abcdef01234567 is running"]),
    ],
    ids=["a message", "a status", "a header", "a name"],
)
async def test_what_is_anothers_is_noticed(tenants: list[Tenant], reply: Reply) -> None:
    mine, other = tenants
    ledger = Ledger(tenants)
    assert ledger.claim("answers/0123456789abcdef01234567", other) is None
    assert ledger.look(reply, mine)
    assert not ledger.look(reply, other)


@pytest.mark.anyio
async def test_a_name_that_was_asked_for_may_be_repeated_and_one_that_two_were_given_may_not_be(
    tenants: list[Tenant],
) -> None:
    mine, other = tenants
    ledger = Ledger(tenants)
    refusal = Reply(grpc.StatusCode.NOT_FOUND, words="there is no corpora/the-idb-17")
    assert ledger.look(refusal, mine)
    mine.sent.update(part.encode() for part in parts("corpora/the-idb-17/documents/x"))
    assert not ledger.look(refusal, mine)
    assert ledger.look(Reply(messages=[b"corpora/the-idb-1"]), mine)
    assert ledger.claim("answers/1", other) is None
    assert ledger.claim("answers/1", mine) is not None
