from __future__ import annotations

import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from headwater_server.orchestrator.config import ChatsConfig
from headwater_server.runtime.app import orchestrator_config
from headwater_server.runtime.chats import OWNER_NAME, any_chats, chats_opener
from headwater_server.runtime.settings import Settings, SettingsError, load
from headwater_server.runtime.settings_toml import as_toml

URL = "postgresql://me:canary%40secret@db.example.org/chats"


def with_url(url: str) -> Settings:
    return load(flags={"chats": {"url": url}})


def test_the_password_of_the_database_is_shown_nowhere() -> None:
    settings = with_url(URL)
    shown = as_toml(settings)
    assert "canary" not in shown + repr(settings)
    assert "db.example.org/chats" in tomllib.loads(shown)["chats"]["url"]
    assert {"canary%40secret", "canary@secret"} <= set(settings.secrets())
    assert not set(with_url("").secrets()) & {""}


def test_a_url_that_cannot_work_is_refused_at_the_start(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"chats\.url: 'mysql' is no database") as refused:
        chats_opener(with_url("mysql://me:canary@host/chats"), tmp_path)
    assert "canary" not in str(refused.value)


def test_a_server_keeps_its_name_among_those_that_share_a_database(tmp_path: Path) -> None:
    chats_opener(with_url(URL), tmp_path)
    name = (tmp_path / OWNER_NAME).read_text()
    assert len(name) == 32
    chats_opener(with_url(URL), tmp_path)
    assert (tmp_path / OWNER_NAME).read_text() == name


def test_the_orchestrator_gets_what_the_settings_say() -> None:
    settings = load(flags={"chats": {"follow_up": "assistant", "max_chats": 3, "max_turns": 4}})
    assert orchestrator_config(settings).chats == ChatsConfig(follow_up="assistant", max_chats=3, max_turns=4)


@pytest.mark.anyio
async def test_a_file_of_chats_is_made_when_it_is_first_needed(tmp_path: Path) -> None:
    made = tmp_path / "chats.sqlite3"
    open_store, used = chats_opener(load(), tmp_path), any_chats(load(), tmp_path)
    before = made.exists(), used()
    store = await open_store()
    await store.aclose()
    assert (before, (made.exists(), used())) == ((False, False), (True, True))


def test_in_a_database_that_others_share_there_may_always_be_chats(tmp_path: Path) -> None:
    assert any_chats(with_url(URL), tmp_path)()


def test_nothing_of_databases_is_loaded_before_a_chat_is_used() -> None:
    program = "import sys, headwater_server.runtime.app; print({'sqlalchemy', 'alembic', 'pg8000'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=120, check=True)
    assert done.stdout.strip() == "set()"
