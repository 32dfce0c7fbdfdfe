"""Where a server listens, with which certificates, and what is refused before it does."""

from __future__ import annotations

import socket
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc
import pytest
import trustme

from headwater import AsyncClient, FinishReason, TlsSettings
from headwater_server.runtime.app import running
from headwater_server.runtime.security import check_exposure, is_loopback, split_address
from headwater_server.runtime.server import PortInUse, Server
from headwater_server.runtime.servicers import ANSWER, ASSISTANT, RETRIEVAL
from headwater_server.runtime.settings import SettingsError, load
from tests.orchestrator.asking import asking
from tests.orchestrator.backends import Services
from tests.runtime.serving import connected, settings

pytestmark = [pytest.mark.anyio, pytest.mark.usefixtures("each_front")]


@dataclass(frozen=True)
class Certificates:
    """A certificate authority and what it has signed, as files."""

    authority: Path
    chain: Path
    key: Path


@pytest.fixture(scope="session")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    return issued(tmp_path_factory.mktemp("certificates"))


def issued(folder: Path) -> Certificates:
    authority = trustme.CA()
    certificate = authority.issue_cert("localhost", "127.0.0.1")
    made = Certificates(folder / "ca.pem", folder / "chain.pem", folder / "key.pem")
    authority.cert_pem.write_to_path(made.authority)
    certificate.private_key_pem.write_to_path(made.key)
    for part in certificate.cert_chain_pems:
        part.write_to_path(made.chain, append=True)
    return made


@pytest.mark.parametrize(
    ("address", "expected"),
    [
        ("127.0.0.1:0", ("127.0.0.1", 0)),
        ("localhost:65535", ("localhost", 65535)),
        ("[::1]:50051", ("::1", 50051)),
        ("0.0.0.0:1", ("0.0.0.0", 1)),
    ],
)
def test_an_address_is_host_and_port(address: str, expected: tuple[str, int]) -> None:
    assert split_address(address) == expected


@pytest.mark.parametrize(
    "address", ["", "50051", ":50051", "localhost", "localhost:x", "localhost:65536", "::1:50051", "h:-1"]
)
def test_what_is_no_address_is_refused(address: str) -> None:
    with pytest.raises(SettingsError, match="not host:port"):
        split_address(address)


@pytest.mark.parametrize(
    ("host", "loopback"),
    [
        ("127.0.0.1", True),
        ("127.8.8.8", True),
        ("::1", True),
        ("localhost", True),
        ("0.0.0.0", False),
        ("::", False),
        ("192.168.1.1", False),
        ("example.com", False),
        ("localhost.example.com", False),
    ],
)
def test_only_this_machine_reaches_loopback(host: str, *, loopback: bool) -> None:
    assert is_loopback(host) is loopback


async def test_beyond_loopback_without_tls_is_refused_unless_insecure_says_so(
    tmp_path: Path, certificates: Certificates
) -> None:
    exposed = load(flags={"address": "0.0.0.0:0", "data_dir": tmp_path / "data"})
    with pytest.raises(SettingsError, match="--insecure"):
        async with running(exposed):
            pytest.fail("it must not run")
    assert not (tmp_path / "data").exists(), "nothing was touched"
    check_exposure(exposed.model_copy(update={"insecure": True}))
    check_exposure(load(flags={"address": "0.0.0.0:0", "tls": {"cert": certificates.chain, "key": certificates.key}}))


async def serve_over_tls(**tls: Any) -> tuple[Server, str]:
    services = Services()
    server = Server(settings(tls=tls), {RETRIEVAL: services.retrieval, ASSISTANT: services.assistants})
    return server, await server.start()


async def list_assistants(address: str, credentials: grpc.ChannelCredentials | None) -> grpc.StatusCode:
    """How a call ends that the scripted service has no method for: UNIMPLEMENTED, if it gets there."""
    async with connected(address, credentials) as stubs:
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await stubs.answers.GenerateAnswer(asking(), timeout=20)
        return caught.value.code()


async def test_tls_lets_in_who_trusts_the_authority(certificates: Certificates, tmp_path: Path) -> None:
    server, address = await serve_over_tls(cert=certificates.chain, key=certificates.key)
    trusting = grpc.ssl_channel_credentials(certificates.authority.read_bytes())
    trusting_another = grpc.ssl_channel_credentials(issued(tmp_path).authority.read_bytes())
    assert await list_assistants(address, trusting) is grpc.StatusCode.UNIMPLEMENTED
    assert await list_assistants(address, trusting_another) is grpc.StatusCode.UNAVAILABLE
    assert await list_assistants(address, None) is grpc.StatusCode.UNAVAILABLE
    await server.stop()


async def test_with_client_ca_clients_need_a_certificate_too(certificates: Certificates, tmp_path: Path) -> None:
    ours = certificates
    server, address = await serve_over_tls(cert=ours.chain, key=ours.key, client_ca=ours.authority)
    foreign = issued(tmp_path)
    roots = ours.authority.read_bytes()
    known = grpc.ssl_channel_credentials(roots, ours.key.read_bytes(), ours.chain.read_bytes())
    unknown = grpc.ssl_channel_credentials(roots, foreign.key.read_bytes(), foreign.chain.read_bytes())
    assert await list_assistants(address, known) is grpc.StatusCode.UNIMPLEMENTED
    assert await list_assistants(address, unknown) is grpc.StatusCode.UNAVAILABLE
    assert await list_assistants(address, grpc.ssl_channel_credentials(roots)) is grpc.StatusCode.UNAVAILABLE
    await server.stop()


async def test_certificates_that_cannot_be_used_are_a_matter_of_settings(
    certificates: Certificates, tmp_path: Path
) -> None:
    garbage, other = tmp_path / "garbage.pem", issued(tmp_path)
    garbage.write_text("no certificate")
    for tls in (
        {"cert": garbage, "key": certificates.key},
        {"cert": certificates.chain, "key": garbage},
        {"cert": certificates.chain, "key": other.key},
        {"cert": tmp_path / "absent.pem", "key": certificates.key},
        {"cert": certificates.chain, "key": certificates.key, "client_ca": garbage},
    ):
        with pytest.raises(SettingsError, match=r"\.pem"):
            await serve_over_tls(**tls)


async def test_a_port_in_use_is_said_so() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        server = Server(load(flags={"address": address}), {RETRIEVAL: Services().retrieval})
        with pytest.raises(PortInUse, match=address):
            await server.start()
        await server.stop()


async def test_a_port_in_use_comes_out_of_running_as_it_is_and_frees_the_data_folder(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        flags = {"data_dir": tmp_path, "retrieval": {"workers": 1}}
        with pytest.raises(PortInUse):
            async with running(load(flags={**flags, "address": f"127.0.0.1:{taken.getsockname()[1]}"})):
                pytest.fail("it must not run")
    async with running(load(flags={**flags, "address": "127.0.0.1:0"})) as services:
        assert services.address.startswith("127.0.0.1:")
        assert not services.address.endswith(":0")


async def test_an_ipv6_address_comes_back_in_brackets() -> None:
    try:
        with socket.socket(socket.AF_INET6) as probe:
            probe.bind(("::1", 0))
    except OSError:
        pytest.skip("this machine has no IPv6 loopback")
    server = Server(load(flags={"address": "[::1]:0"}), {ANSWER: object()})
    address = await server.start()
    assert address.startswith("[::1]:")
    await server.stop()


async def test_apart_the_services_speak_tls_with_each_other(tmp_path: Path, certificates: Certificates) -> None:
    tls = {"cert": certificates.chain, "key": certificates.key, "client_ca": certificates.authority}
    part = {"address": "127.0.0.1:0", "data_dir": tmp_path, "tls": tls}
    ends = {"address": "127.0.0.1:0", "tls": {**tls, "client_ca": None, "upstream_ca": certificates.authority}}
    async with (
        running(load(flags=part), "retrieval") as retrieval,
        running(load(flags=part), "assistant") as assistant,
        running(
            load(flags={**ends, "retrieval_target": retrieval.address, "assistant_target": assistant.address}),
            "orchestrator",
        ) as orchestrator,
        AsyncClient(orchestrator.address, tls=TlsSettings(ca=certificates.authority)) as client,
    ):
        answer = await client.answer("Does it work?", corpora=["default"])
    assert answer.finish_reason is FinishReason.ABSTAINED
