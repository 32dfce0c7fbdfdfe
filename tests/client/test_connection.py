"""Where the client connects, how it is secured, and what it never sends or shows."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import trustme

from headwater import ArgumentError, AsyncClient, Client, ConnectionFailed, ConnectionLost, TlsSettings, UsageError
from headwater._connection import is_loopback, resolve_endpoint
from tests.conformance.process import scripted_process, scripted_server

TOKEN = "canary-5f0c9a1b"


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture(scope="module")
def secure_target(authority: trustme.CA, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    folder = tmp_path_factory.mktemp("tls")
    certificate = authority.issue_cert("headwater.test")
    certificate.private_key_pem.write_to_path(folder / "key.pem")
    for blob in certificate.cert_chain_pems:
        blob.write_to_path(folder / "certificate.pem", append=True)
    with scripted_server(
        "--tls-certificate", str(folder / "certificate.pem"), "--tls-key", str(folder / "key.pem")
    ) as target:
        yield target


@pytest.fixture
def tls(authority: trustme.CA, tmp_path: Path) -> TlsSettings:
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    return TlsSettings(ca=tmp_path / "ca.pem", server_name="headwater.test")


def test_a_token_goes_with_each_call_over_tls(secure_target: str, tls: TlsSettings) -> None:
    with Client(secure_target, token=TOKEN, tls=tls) as client:
        assert client.answer("echo_authorization").content() == f"Bearer {TOKEN}"


@pytest.mark.anyio
async def test_a_token_goes_with_each_call_over_tls_async(secure_target: str, tls: TlsSettings, one_loop: None) -> None:
    async with AsyncClient(secure_target, token=TOKEN, tls=tls) as client:
        assert await client.answer("echo_authorization").content() == f"Bearer {TOKEN}"


def test_a_token_goes_over_loopback_in_plain_text(target: str) -> None:
    with Client(target, token=TOKEN) as client:
        assert client.answer("echo_authorization").content() == f"Bearer {TOKEN}"


def test_a_certificate_of_another_name_or_another_authority_is_refused(
    secure_target: str, authority: trustme.CA
) -> None:
    ca = authority.cert_pem.bytes()
    for settings in [
        TlsSettings(ca=ca, server_name="other.test"),
        TlsSettings(ca=trustme.CA().cert_pem.bytes(), server_name="headwater.test"),
    ]:
        with Client(secure_target, tls=settings) as client, pytest.raises(ConnectionFailed, match=secure_target):
            client.answer("happy").content()


def test_nobody_there_is_said_with_the_address() -> None:
    with Client("127.0.0.1:1") as client, pytest.raises(ConnectionFailed, match=r"127\.0\.0\.1:1") as raised:
        client.answer("happy").content()
    assert raised.value.__cause__ is None
    with Client("127.0.0.1:1") as client, pytest.raises(ConnectionFailed):
        client.corpora.get("handbook")


def test_a_token_is_never_sent_in_plain_text_beyond_this_machine() -> None:
    with pytest.raises(ArgumentError, match="never sent in plain text"):
        Client("example.com:50051", token=TOKEN, insecure=True)


def test_a_token_is_never_shown() -> None:
    with Client("example.com", token=TOKEN) as client:
        assert TOKEN not in repr(client)
    endpoint = resolve_endpoint("127.0.0.1", token=TOKEN, tls=None, insecure=False, keepalive=1, user_agent="")
    assert TOKEN not in repr(endpoint)
    with pytest.raises(ArgumentError) as raised:
        Client(token=f"{TOKEN}\n")
    assert TOKEN not in str(raised.value)
    settings = TlsSettings(certificate=b"certificate", key=b"secret")
    assert "secret" not in repr(settings)


@pytest.mark.parametrize(
    ("target", "local"),
    [
        ("127.0.0.1:50051", True),
        ("127.8.9.1:1", True),
        ("localhost:50051", True),
        ("[::1]:50051", True),
        ("unix:/run/headwater.sock", True),
        ("dns:///localhost:50051", True),
        ("ipv4:127.0.0.1:50051", True),
        ("example.com:50051", False),
        ("localhost.example.com:50051", False),
        ("10.0.0.1:50051", False),
        ("[2001:db8::1]:50051", False),
        ("dns://8.8.8.8/example.com:50051", False),
        ("ipv4:127.0.0.1:1,10.0.0.1:1", False),
        ("dns:///127.0.0.1.example.com", False),
    ],
)
def test_plain_text_is_for_loopback_only(target: str, local: bool) -> None:
    assert is_loopback(target) is local
    endpoint = resolve_endpoint(target, token=None, tls=None, insecure=False, keepalive=None, user_agent="")
    assert (endpoint.credentials is None) is local
    plain = resolve_endpoint(target, token=None, tls=None, insecure=True, keepalive=None, user_agent="")
    assert plain.credentials is None


@pytest.mark.parametrize(
    ("given", "target"),
    [
        ("example.com", "example.com:50051"),
        ("example.com:1", "example.com:1"),
        ("::1", "[::1]:50051"),
        ("[::1]", "[::1]:50051"),
        ("unix:/run/x", "unix:/run/x"),
    ],
)
def test_a_target_without_a_port_gets_the_default_one(given: str, target: str) -> None:
    assert Client(given).target == target


def test_the_target_comes_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("HEADWATER_TARGET", raising=False)
    assert Client().target == "127.0.0.1:50051"
    monkeypatch.setenv("HEADWATER_TARGET", "localhost:7")
    assert Client().target == "localhost:7"
    assert Client("localhost:8").target == "localhost:8"
    assert AsyncClient().target == "localhost:7"


def test_settings_that_contradict_each_other_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ArgumentError, match="without a scheme"):
        Client("https://example.com")
    with pytest.raises(ArgumentError, match="contradict"):
        Client("example.com", tls=TlsSettings(), insecure=True)
    with pytest.raises(ArgumentError, match="cannot be read"):
        Client("example.com", tls=TlsSettings(ca=tmp_path / "missing.pem"))
    with pytest.raises(ArgumentError, match="go together"):
        TlsSettings(certificate=b"x")
    with pytest.raises(ArgumentError, match="keepalive"):
        Client(keepalive=0)


def test_the_limits_on_a_silent_peer_are_all_three_set() -> None:
    options = dict(
        resolve_endpoint("localhost", token=None, tls=None, insecure=False, keepalive=1, user_agent="x/1").options
    )
    assert options["grpc.keepalive_time_ms"] == 1000
    assert {"grpc.keepalive_timeout_ms", "grpc.http2.ping_timeout_ms"} <= options.keys()
    assert str(options["grpc.primary_user_agent"]).startswith("x/1 headwater-python/")


@pytest.mark.anyio
async def test_an_async_client_belongs_to_one_loop(target: str, one_loop: None) -> None:
    async with AsyncClient(target) as client:
        await client.answer("happy")

        async def elsewhere() -> None:
            with pytest.raises(UsageError, match="event loop"):
                await client.get_answer("answers/x")

        await asyncio.to_thread(asyncio.run, elsewhere())


def test_a_server_that_is_frozen_is_noticed() -> None:
    with frozen_server() as (freeze, target), Client(target) as client:
        answer = client.answer("hold", resume=False)
        assert next(iter(answer)) == "Every "
        freeze()
        with pytest.raises(ConnectionLost, match="ping timeout") as raised:
            answer.content()
        assert raised.value.partial == "Every "


@contextmanager
def frozen_server() -> Iterator[tuple[Callable[[], None], str]]:
    with scripted_process() as (process, target):
        try:
            yield lambda: process.send_signal(signal.SIGSTOP), target
        finally:
            process.send_signal(signal.SIGCONT)
