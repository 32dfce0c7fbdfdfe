"""What the parent of several processes is made of, each part by itself."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import SecretStr

from headwater_server.runtime.processes.orders import decode, encode
from headwater_server.runtime.processes.patience import Deaths, Patience
from headwater_server.runtime.processes.place import Place
from headwater_server.runtime.processes.port import AddressTakenError, kept_port
from headwater_server.runtime.processes.reports import Report, Reports
from headwater_server.runtime.processes.sharing import places_of, shared_out, socket_folder
from headwater_server.runtime.settings import (
    AssistantSettings,
    LimitSettings,
    Settings,
    SettingsError,
    TlsSettings,
    cpu_count,
    load,
)

PATIENCE = Patience(first_pause=0.1, longest_pause=5.0, settled=10.0, most_deaths=8)


def test_a_process_that_keeps_dying_is_started_ever_later_and_at_last_not_at_all() -> None:
    deaths = Deaths(PATIENCE)
    pauses = [deaths.died(served=1.0) for _ in range(9)]
    assert pauses == [0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 5.0, 5.0, None]


@given(st.lists(st.floats(0, 60), max_size=60))
def test_a_process_that_settles_between_its_deaths_is_started_again_for_ever(lives: list[float]) -> None:
    deaths = Deaths(PATIENCE)
    in_a_row = 0
    for served in lives:
        in_a_row = 1 if served >= PATIENCE.settled else in_a_row + 1
        pause = deaths.died(served=served)
        assert (pause is None) == (in_a_row > PATIENCE.most_deaths)
        assert pause is None or PATIENCE.first_pause <= pause <= PATIENCE.longest_pause


@given(st.lists(st.binary(max_size=12), max_size=40), st.data())
def test_reports_are_read_however_they_are_cut_and_whatever_lies_between(
    noise: list[bytes], data: st.DataObject
) -> None:
    sent = [Report("alive"), Report("ready", "127.0.0.1:1"), Report("failed", "no\nway", "SettingsError")]
    lines = [b'{"kind": "alive", "text": "", "error": ""}', b'{"kind": "ready", "text": "127.0.0.1:1", "error": ""}']
    lines.append(b'{"kind": "failed", "text": "no\\nway", "error": "SettingsError"}')
    between = [part.replace(b"\n", b"").replace(b"{", b"") for part in noise]
    stream = b"\n".join([*lines[:1], *between, *lines[1:], b""])
    reports, read, position = Reports(), [], 0
    while position < len(stream):
        size = data.draw(st.integers(1, len(stream)))
        read += list(reports.feed(stream[position : position + size]))
        position += size
    assert read == sent


def test_a_process_is_given_all_settings_with_their_secrets() -> None:
    settings = Settings(
        address="127.0.0.1:0",
        data_dir=Path("/srv/headwater"),
        tokens={"acme": SecretStr("a-token-of-acme-0123")},
        assistants={
            "near": AssistantSettings.model_validate(
                {
                    "api": "openai-chat",
                    "base_url": "http://127.0.0.1:1",
                    "api_key": "key",
                    "models": ["m"],
                    "continues": "vllm",
                }
            )
        },
        tls=TlsSettings(cert=Path("cert.pem"), key=Path("key.pem")),
    )
    place = Place("front-1", "front", socket="unix:/run/front-1.sock", retrieval="unix:/run/retrieval.sock")
    line = encode(place, settings)
    assert line.count(b"\n") == 1
    given_place, given_settings = decode(line)
    assert given_place == place
    assert given_settings.model_dump() == settings.model_dump()


def test_a_port_is_kept_for_several_listeners_and_from_everybody_else() -> None:
    with kept_port("127.0.0.1:0") as address:
        host, port = address.rsplit(":", 1)
        with socket.socket() as first, socket.socket() as second, socket.socket() as stranger:
            for listener in (first, second):
                listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
                listener.bind((host, int(port)))
                listener.listen()
            with pytest.raises(OSError, match="in use"):
                stranger.bind((host, int(port)))


@pytest.mark.parametrize("shares", [False, True])
def test_a_foreign_server_on_the_port_is_noticed_even_if_it_would_share_it(shares: bool) -> None:
    with socket.socket() as foreign:
        foreign.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, int(shares))
        foreign.bind(("127.0.0.1", 0))
        foreign.listen()
        address = f"127.0.0.1:{foreign.getsockname()[1]}"
        with pytest.raises(AddressTakenError, match=f"cannot listen on {address}"), kept_port(address):
            pass


def test_what_is_no_address_of_this_machine_is_refused() -> None:
    with pytest.raises(AddressTakenError), kept_port("192.0.2.1:50051"):
        pass
    with pytest.raises(SettingsError), kept_port("nonsense"):
        pass


@given(st.integers(1, 100), st.integers(1, 100_000))
def test_limits_are_divided_so_that_no_process_is_left_without(count: int, answers: int) -> None:
    settings = Settings(processes=count, limits=LimitSettings(answers=answers))
    own = shared_out(settings, "127.0.0.1:7").limits
    assert own.answers >= 1
    assert answers <= own.answers * count < answers + count


def test_the_retrieval_service_is_one_process_and_everybody_knows_where_it_is() -> None:
    retrieval, *fronts = places_of("all", 3, Path("/run"))
    assert [place.name for place in fronts] == ["front-1", "front-2", "front-3"]
    assert {place.retrieval for place in fronts} == {retrieval.socket} == {"unix:/run/retrieval.sock"}
    assert len({place.socket for place in fronts}) == 3
    assert [place.shares_port for place in (retrieval, *fronts)] == [False, True, True, True]
    assert [place.member for place in places_of("orchestrator", 2, Path("/run"))] == ["orchestrator"] * 2
    assert [place.socket for place in places_of("assistant", 2, Path("/run"))] == ["", ""]


def test_sockets_are_in_the_data_folder_unless_its_path_is_too_long_for_one(tmp_path: Path) -> None:
    near, far = tmp_path / "d", tmp_path / ("x" * 120)
    far.mkdir()
    with socket_folder(far) as folder:
        assert far not in folder.parents
        assert folder.stat().st_mode & 0o077 == 0
    assert not folder.exists()
    if len(str(near)) < 60:
        with socket_folder(near) as folder:
            assert folder == near / "run"


def test_processes_is_a_number_or_auto(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HEADWATER_PROCESSES", "auto")
    assert load().process_count == cpu_count()
    assert load(flags={"processes": "3"}).process_count == 3
    assert Settings(processes=0).process_count == cpu_count()
    monkeypatch.delenv("HEADWATER_PROCESSES")
    assert load().process_count == 1
    with pytest.raises(SettingsError, match="processes"):
        load(flags={"processes": "-1"})
