from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import trustme

from tests.serving import ServerProcess, headwater, serving

TOKEN = "a-token-of-some-length"


@dataclass(frozen=True, slots=True)
class Secured:
    server: ServerProcess
    ca: Path


@pytest.fixture(scope="module")
def secured(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Secured]:
    folder = tmp_path_factory.mktemp("secured")
    authority = trustme.CA()
    certificate = authority.issue_cert("localhost", "127.0.0.1")
    authority.cert_pem.write_to_path(str(folder / "ca.pem"))
    certificate.private_key_pem.write_to_path(str(folder / "key.pem"))
    certificate.cert_chain_pems[0].write_to_path(str(folder / "cert.pem"))
    (folder / "headwater.toml").write_text(
        f'[tokens]\nlocal = "{TOKEN}"\n[tls]\ncert = "{folder / "cert.pem"}"\nkey = "{folder / "key.pem"}"\n'
    )
    with serving(folder / "data", "--config", str(folder / "headwater.toml")) as server:
        yield Secured(server, folder / "ca.pem")


def test_a_server_with_tls_and_a_token_is_reached_with_both(secured: Secured) -> None:
    options: list[str | Path] = ["--tls-ca", secured.ca, "--token", TOKEN]
    listed = headwater("corpora", "list", *options, target=secured.server.target)
    assert listed.returncode == 0, listed.stderr
    checked = headwater("doctor", *options, target=secured.server.target)
    assert "AnswerService serving" in checked.stdout
    assert TOKEN not in checked.stdout + checked.stderr


def test_the_environment_names_them_too(secured: Secured) -> None:
    extra = {"HEADWATER_TLS_CA": str(secured.ca), "HEADWATER_TOKEN": TOKEN}
    assert headwater("corpora", "list", target=secured.server.target, extra=extra).returncode == 0


def test_without_the_token_it_says_how_to_give_one(secured: Secured) -> None:
    refused = headwater("corpora", "list", "--tls-ca", secured.ca, target=secured.server.target)
    assert refused.returncode == 1
    assert "--token" in refused.stderr
    assert len(refused.stderr.splitlines()) == 1


@pytest.mark.parametrize("options", [[], ["--tls"]])
def test_a_certificate_that_is_not_trusted_ends_in_one_line(options: list[str], secured: Secured) -> None:
    refused = headwater("corpora", "list", "--token", TOKEN, *options, target=secured.server.target)
    assert refused.returncode == 1
    assert secured.server.target in refused.stderr
    assert TOKEN not in refused.stderr
    assert len(refused.stderr.splitlines()) == 1


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--tls-cert", "cert.pem"], "go together"),
        (["--tls-ca", "absent.pem"], "absent.pem"),
        (["--tls", "--insecure"], "contradict"),
        (["--token", "x", "--insecure", "--target", "192.0.2.1:1"], "plain text"),
        (["--target", "http://localhost:1"], "without a scheme"),
    ],
)
def test_options_that_cannot_work_are_refused_with_2_before_anything_is_sent(options: list[str], said: str) -> None:
    refused = headwater("corpora", "list", *options)
    assert refused.returncode == 2
    assert said in refused.stderr
    assert len(refused.stderr.splitlines()) == 1
