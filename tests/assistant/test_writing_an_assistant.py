"""The example of docs/writing-an-assistant.md, run as it stands there."""

from __future__ import annotations

import re
import sys
import tomllib
from importlib.metadata import EntryPoint
from pathlib import Path

import pytest

from headwater.v1 import answer_pb2, assistant_service_pb2, generation_pb2
from headwater_server.assistant.config import AssistantConfig, NamedProvider
from headwater_server.assistant.openai_chat import ChatOptions
from headwater_server.assistant.protocol import ENTRY_POINT_GROUP
from headwater_server.assistant.registry import ProviderRegistry
from headwater_server.assistant.service import AssistantCore
from headwater_server.errors import InvalidRequest
from tests.assistant.asking import CALLER, a_request, ask

pytestmark = pytest.mark.anyio

PAGE = (Path(__file__).parents[2] / "docs/writing-an-assistant.md").read_text(encoding="utf-8")


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", PAGE, flags=re.DOTALL | re.MULTILINE)


@pytest.fixture
def core(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AssistantCore:
    (example,) = blocks("python")
    (tmp_path / "first_lines.py").write_text(example, encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "first_lines", raising=False)
    packaging, settings = (tomllib.loads(block) for block in blocks("toml"))
    declared = packaging["project"]["entry-points"][ENTRY_POINT_GROUP]
    plugins = [EntryPoint(name, value, ENTRY_POINT_GROUP) for name, value in declared.items()]
    providers = {name: NamedProvider(**table) for name, table in settings["assistants"].items()}
    config = AssistantConfig(providers=providers, environ={})
    return AssistantCore(ProviderRegistry(config, plugins=plugins), config)


@pytest.mark.parametrize("assistant", ["first-lines/first", "lines/first"])
async def test_the_example_answers_and_cites(core: AssistantCore, assistant: str) -> None:
    heard = await ask(core, a_request("Why?", assistant=assistant, sources=["Größe.\nMore.", "Second"]))
    assert heard.text == "Größe.\nSecond\n"
    assert heard.spans == [("Größe.", ["1"]), ("Second", ["2"])]
    assert [citation.evidence[0].quote for citation in heard.citations] == ["Größe.", "Second"]
    assert heard.answer.finish_reason == answer_pb2.FINISH_REASON_STOP
    assert heard.answer.model_version == "1"


async def test_the_example_is_listed(core: AssistantCore) -> None:
    page = await core.list_assistants(assistant_service_pb2.ListAssistantsRequest(), CALLER)
    names = {assistant.name: assistant.display_name for assistant in page.assistants}
    assert names["assistants/first-lines/first"] == names["assistants/lines/first"] == "First lines"


async def test_the_example_refuses_what_it_cannot_do(core: AssistantCore) -> None:
    options = generation_pb2.GenerationOptions(temperature=1)
    with pytest.raises(InvalidRequest):
        await ask(core, a_request("Why?", assistant="lines/first", sources=["x"], generation=options))


def test_the_page_names_every_key_of_openai_chat() -> None:
    keys = re.findall(r"^\| `(\w+)` \|", PAGE, flags=re.MULTILINE)
    assert sorted(keys) == sorted(ChatOptions.__slots__)
