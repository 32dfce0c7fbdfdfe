"""A whole server with secrets in its settings, over providers that repeat them; then all that it left is looked at."""

from __future__ import annotations

import random
import string
import traceback
from collections.abc import Iterable
from functools import partial
from pathlib import Path
from typing import Any

import grpc

from headwater import Client, HeadwaterError
from headwater.v1.answer_service_pb2 import GetAnswerRequest, ListAnswersRequest, StreamAnswerRequest
from headwater.v1.answer_service_pb2_grpc import AnswerServiceStub
from headwater_server.runtime import settings as server_settings
from tests.faults.canaries.leaking import WAYS, leaking
from tests.faults.canaries.looking import Watch
from tests.serving import headwater, serving

APIS = ("openai-chat", "openai-responses", "anthropic", "gemini", "cohere", "mistral", "ollama", "azure-openai")
_SETTINGS = """
data_dir = "{data}"

[log]
level = "debug"

[failover]
retries = 0
failures_to_rest = 0

[retrieval]
workers = 1
reranker = "canary-ranks/m"

[chats]
url = "postgresql://user:{chats}@127.0.0.1:9/nobody-is-there"

[tokens]
acme = "{token}"
globex = "{other_token}"

[rerankers.canary-ranks]
api = "cohere"
base_url = "{url}"
api_key = "{ranking_key}"

[embedders.canary-embeds]
api = "openai"
base_url = "{url}/v1"
api_key = "{embedding_key}"
"""
_ASSISTANT = """
[assistants.canary-{api}]
api = "{api}"
base_url = "{url}"
api_key{how} = "{key}"
"""
_BY_ENVIRONMENT = "cohere"
"""The API whose key is in a variable that the settings name."""
_VARIABLE = "CANARY_VARIABLE"


def secrets_of(seed: int) -> dict[str, str]:
    """What must not get out, by what it is: with the prefixes that keys have, and without any."""
    chance = random.Random(f"{seed}/canaries")  # noqa: S311 (they guard nothing)

    def made(prefix: str) -> str:
        return prefix + "".join(chance.choices(string.ascii_letters + string.digits, k=40))

    prefixes = ("sk-proj-", "sk-", "sk-ant-api03-", "AIza", "", "", "", "")
    keys = {f"the key of {api}": made(prefix) for api, prefix in zip(APIS, prefixes, strict=True)}
    names = ("token", "other token", "wrong token", "ranking key", "embedding key", "key in the environment")
    return {**keys, **{name: made("") for name in (*names, "password in a URL", "query of a URL", "chats' password")}}


def run(folder: Path, *, seed: int) -> dict[str, Any]:
    """Looks everywhere.

    Args:
        folder: For the server's data and log; empty.
        seed: Decides what the secrets are.

    Returns:
        How much was looked at.

    Raises:
        AssertionError: A secret was found, or a provider was never shown its key.
    """
    secrets = secrets_of(seed)
    watch = Watch(secrets)
    with leaking() as (url, shown):
        settings = _write_settings(folder, secrets, url=url)
        extra = {
            _VARIABLE: secrets[f"the key of {_BY_ENVIRONMENT}"],
            "OPENAI_API_KEY": secrets["key in the environment"],
        }
        with serving(folder / "data", "--config", str(settings), extra=extra) as server:
            watch.look("output", "standard output", server.ready_line)
            ended = _ask_by_hand(server.target, secrets["token"], watch)
            ended += _ask_by_client(server.target, secrets, watch)
            _look_at_programs(server.target, settings, {**extra, "HEADWATER_TOKEN": secrets["token"]}, watch)
            watch.look_at_files(folder / "data")  # while it runs
        watch.look_at_files(folder / "data")
        while (line := server.later_lines.get(timeout=10)) is not None:
            watch.look("output", "standard output", line)
    watch.look_at_lines("lines of logs", "the log", (folder / "data.log").read_text())
    _look_at_refusals(folder, secrets, watch)
    watch.look("representations", "the settings' repr", repr(server_settings.load(config=settings)))
    assert not watch.leaks, "\n".join(watch.leaks[:20])
    unused = {what for what, secret in secrets.items() if what.endswith(" key") or what.startswith("the key")} - {
        what for what, secret in secrets.items() if secret in shown
    }
    assert not unused, f"no provider was shown {sorted(unused)}"
    return {
        "secrets": len(secrets),
        "calls": len(ended),
        "failures": sum(ended),
        "places": watch.places.total(),
        "statuses": watch.places["statuses"],
        "representations": watch.places["representations"] + watch.places["messages"],
        "log_lines": watch.places["lines of logs"],
        "files": watch.places["files"],
    }


def _write_settings(folder: Path, secrets: dict[str, str], *, url: str) -> Path:
    names = ("token", "other_token", "ranking_key", "embedding_key")
    text = _SETTINGS.format(
        url=url,
        data=folder / "data",
        chats=secrets["chats' password"],
        **{name: secrets[name.replace("_", " ")] for name in names},
    )
    for api in APIS:
        named = api == _BY_ENVIRONMENT
        key = _VARIABLE if named else secrets[f"the key of {api}"]
        text += _ASSISTANT.format(api=api, url=url, how="_env" if named else "", key=key)
    path = folder / "settings.toml"
    path.write_text(text)
    return path


def _prompts() -> Iterable[tuple[str, str]]:
    for api in APIS:
        for number, way in enumerate(WAYS):
            yield f"canary-{api}/m", f"Please fail by way {number}#, which is {way}."


def _ask_by_hand(target: str, token: str, watch: Watch) -> list[bool]:
    """Looks at every message, every status and every header there is; returns which calls have failed."""
    failed: list[bool] = []
    metadata = (("authorization", f"Bearer {token}"),)

    def made(where: str, call: Any) -> None:
        try:
            for message in call if hasattr(call, "__iter__") else [call]:
                watch.look("messages", where, message.SerializeToString())
                watch.look("messages", where, str(message))
            failed.append(False)
        except grpc.RpcError as error:
            failed.append(True)
            _look_at_status(error, where, watch)

    with grpc.insecure_channel(target) as channel:
        answers = AnswerServiceStub(channel)
        for assistant, prompt in _prompts():
            request = StreamAnswerRequest(prompt=prompt, assistant=assistant)
            request.ungrounded.SetInParent()
            made(f"{assistant}, {prompt}", answers.StreamAnswer(request, metadata=metadata, timeout=60))
        listed = answers.ListAnswers(ListAnswersRequest(page_size=1000), metadata=metadata)
        watch.look("messages", "ListAnswers", listed.SerializeToString())
        for answer in listed.answers:
            kept = answers.GetAnswer(GetAnswerRequest(name=answer.name), metadata=metadata)
            watch.look("messages", f"{answer.name}, kept", str(kept))
    return failed


def _look_at_status(error: grpc.RpcError, where: str, watch: Watch) -> None:
    call: Any = error  # grpcio's exceptions are calls too
    watch.look("statuses", f"the status of {where}", call.details() or "")
    watch.look("statuses", f"grpcio's words about {where}", str(error))
    for name, value in (*(call.initial_metadata() or ()), *(call.trailing_metadata() or ())):
        watch.look("statuses", f"{name} of {where}", value)


def _ask_by_client(target: str, secrets: dict[str, str], watch: Watch) -> list[bool]:
    """Looks at what the client shows of itself, its answers and its exceptions."""
    failed: list[bool] = []

    def look(what: object, where: str) -> None:
        for text in (repr(what), str(what)) if isinstance(what, Exception) else (repr(what),):
            watch.look("representations", where, text)

    def ask(where: str, work: Any) -> None:
        try:
            look(work(), where)
            failed.append(False)
        except HeadwaterError as error:
            failed.append(True)
            look(error, where)
            look(vars(error), where)
            watch.look("representations", where, "".join(traceback.format_exception(error)))

    with Client(target, token=secrets["token"]) as client:
        look(client, "the client")
        for assistant, prompt in _prompts():
            answer = client.answer(prompt, assistant=assistant, grounded=False)
            ask(prompt, answer.content)
            look(answer, f"the answer to {prompt}")
        ask("a corpus", lambda: client.corpora.create("plain"))
        for text in (b"Rivers rise in the hills.", b"Rivers end in the sea."):  # one passage needs no ranking
            ask("a document", partial(client.documents.import_file, text, corpus="plain", media_type="text/plain"))
        ask("a search", lambda: client.retrieve("Where do rivers rise?", corpus="plain"))
        ask("a grounded answer", lambda: str(client.answer("Where do rivers rise?", corpus="plain")))
        ask("a chat", lambda: client.chats.create(display_name="x"))
        ask("chats", lambda: list(client.chats.list()))
        ask("a corpus of vectors", lambda: client.corpora.create("far", embedder="canary-embeds/m"))
        ask("vectors", lambda: client.documents.import_file(b"Rivers rise.", corpus="far", media_type="text/plain"))
        ask("a search for vectors", lambda: client.retrieve("Where do rivers rise?", corpus="far"))
    with Client(target, token=secrets["wrong token"]) as stranger:
        look(stranger, "a client with a wrong token")
        for work in (lambda: list(stranger.list_answers()), lambda: str(stranger.answer("Who?", grounded=False))):
            ask("a call with a wrong token", work)
    return failed


def _look_at_programs(target: str, settings: Path, extra: dict[str, str], watch: Watch) -> None:
    """What the programs say of the settings, and of the server."""
    config = ("--config", str(settings))
    lists = (("answers", "list"), ("assistants",))
    for arguments in (("serve", "--print-config", *config), ("doctor", *config), *lists):
        run = headwater(*arguments, target=target, extra=extra)
        watch.look_at_lines("lines of programs", " ".join(arguments), run.stdout + run.stderr)
        assert run.stdout, run.stderr


def _look_at_refusals(folder: Path, secrets: dict[str, str], watch: Watch) -> None:
    """Settings with secrets in URLs where none may be, or where nobody listens."""
    password, query = secrets["password in a URL"], secrets["query of a URL"]
    far = '[assistants.far]\napi = "openai-chat"\n'
    refused = {
        "a password": f'{far}base_url = "https://user:{password}@127.0.0.1/v1"',
        "a query": f'{far}base_url = "https://127.0.0.1/v1?key={query}"',
        "a database": f'[chats]\nurl = "mysql://user:{password}@127.0.0.1:9/x?key={query}"',
        "an unknown setting": f'{far}base_url = "http://127.0.0.1:9"\n[retrieval]\nkeys = "{password}"',
        "a token that is too short": f'[tokens]\nacme = "{password[:15]}"',
        "no TOML": f"[tokens]\nacme = {password}",
    }
    for number, (what, text) in enumerate(refused.items()):
        path = folder / f"refused-{number}.toml"
        path.write_text(text)
        data = folder / f"refused-{number}"
        run = headwater("serve", "--config", path, "--data-dir", data, "--address", "127.0.0.1:0")
        assert run.returncode != 0, what
        watch.look_at_lines("lines of programs", f"the refusal of {what}", run.stdout + run.stderr)
