"""A session of `headwater chat`: prompts, commands, answers."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Callable
from dataclasses import replace

from headwater._answer import Answer
from headwater._cli.answering import Question, begin, list_sources, show, stopped_with_the_program
from headwater._cli.failures import explained, say
from headwater._cli.prompts import Prompts
from headwater._cli.stopping import StopsOnInterrupt
from headwater._cli.terminal import first_line, line, note, plural
from headwater._client import Client
from headwater._exceptions import AnswerClosed, HeadwaterError
from headwater.v1 import answer_pb2, chat_pb2

_COMMAND = re.compile(r"/[a-z]+$")
_HELP = """\
/sources  what the last answer rests on
/new      begin a new chat
/retry    ask the last question again, as a new turn
/help     this
/exit     leave, as Ctrl-D does
Ctrl-C stops an answer. A question that begins with a slash is written with two: //"""


class ChatSession:
    """Asks what it is given, prompt by prompt, in one chat or in several.

    Args:
        client: The server.
        question: What holds for each question: the corpora, the assistant and the like; its prompt is ignored.
        prompts: Where the prompts come from. On a terminal a failure is said, and the next prompt asked for; elsewhere
            it ends the session.
        chat: The chat to go on in. None: a new one, made with the first prompt.
        as_json: Whether to write each chunk as a line of JSON.
    """

    def __init__(
        self, client: Client, question: Question, prompts: Prompts, *, chat: chat_pb2.Chat | None, as_json: bool
    ) -> None:
        self._client = client
        self._question = question
        self._prompts = prompts
        self._chat = "" if chat is None else chat.name
        self._begun_here = chat is None  # then the chat itself has what the question says
        self._running = "" if chat is None else chat.running_answer
        self._as_json = as_json
        self._asked = ""
        self._last: answer_pb2.Answer | None = None
        self._shown = False
        self._dropped_said = False
        if prompts.interactive:
            note(_greeting(chat))

    def run(self) -> None:
        """Goes on until there are no more prompts, or somebody types /exit. Commands are only what is typed.

        Raises:
            HeadwaterError: A question failed that nobody had typed.
            KeyboardInterrupt: Ctrl-C, twice at the prompt, or once where nobody types.
        """
        if self._running:
            self._do(self._catch_up)
        leaving = False
        while True:
            try:
                prompt = self._prompts.next()
            except KeyboardInterrupt:
                if leaving or not self._prompts.interactive:
                    raise
                leaving = True
                note("Ctrl-C again leaves, and so does Ctrl-D")
                continue
            leaving = False
            if prompt is None:
                break
            if not self._prompts.interactive:  # a line of a file may begin as it likes: nobody means a command
                self._asked = prompt
                self._ask()
            elif prompt in {"/exit", "/quit"}:
                break
            elif _COMMAND.match(prompt):
                self._command(prompt)
            else:
                self._asked = prompt.removeprefix("/") if prompt.startswith("//") else prompt
                self._do(self._ask)
        if self._prompts.interactive and self._asked and self._chat:
            note(f"headwater chat --chat {self._chat.removeprefix('chats/')} goes on with this chat")

    def _command(self, name: str) -> None:
        match name:
            case "/sources":
                if self._last is None:
                    note("there is no answer yet whose sources could be shown")
                elif not self._last.sources:
                    note("the last answer has no sources")
                else:
                    list_sources(self._last)
            case "/new":
                self._chat, self._begun_here, self._last, self._asked = "", True, None, ""
                note("the next question begins a new chat")
            case "/retry":
                if self._asked:
                    self._do(self._ask)
                else:
                    note("nothing has been asked yet")
            case "/help":
                for each in _HELP.splitlines():
                    note(each)
            case _:
                note(f"there is no command {name}: /help shows those there are")

    def _do(self, action: Callable[[], None]) -> None:
        """Does what may fail. What a person has typed fails with a line, and is over."""
        if not self._prompts.interactive:
            action()
            return
        try:
            action()
        except HeadwaterError as error:
            say(explained(error)[0])
        except KeyboardInterrupt:
            say("stopped")

    def _ask(self) -> None:
        self._last = None
        if not self._chat:
            self._chat = self._client.chats.create(
                display_name=first_line(self._asked),
                assistant=self._question.assistant or "",
                corpora=self._question.corpora,
                top_k=self._question.top_k,
            ).name
        question = replace(self._question, prompt=self._asked, chat=self._chat)
        if self._begun_here:
            question = replace(question, corpora=None, assistant=None, top_k=None)
        with begin(self._client, question) as answer:
            self._show(answer)

    def _catch_up(self) -> None:
        """Waits for the answer that the chat still has running, and shows it to whoever may have seen its beginning."""
        with self._client.resume(self._running) as answer:
            if self._prompts.interactive:
                note("the last answer is still being written")
                self._show(answer)
            else:
                with contextlib.suppress(HeadwaterError):  # whatever became of it, the chat is free then
                    answer.content()

    def _show(self, answer: Answer) -> None:
        say_how, self._shown = not self._shown, True
        if not self._prompts.interactive:
            if not (say_how or self._as_json):
                line("")
            with stopped_with_the_program(answer):
                show(answer, as_json=self._as_json, show_sources=False, say_how=say_how)
        else:
            with StopsOnInterrupt(self._client, answer) as interrupt:
                try:
                    show(answer, as_json=self._as_json, show_sources=False, say_how=say_how)
                except AnswerClosed:
                    if not interrupt.stopped:
                        raise
                    say("the answer was stopped here; the server could not be told")
                    return
        self._last = answer.message
        dropped = answer.timings.dropped_history_messages
        if dropped and not self._dropped_said and not self._as_json:
            self._dropped_said = True
            note(f"too long for the model: {plural(dropped, 'message')} of this chat left out, the oldest first")


def _greeting(chat: chat_pb2.Chat | None) -> str:
    end = "/help shows the commands, Ctrl-D leaves"
    if chat is None:
        return f"a new chat; {end}"
    title = chat.display_name or chat.name.removeprefix("chats/")
    return f"{title} ({plural(chat.turn_count, 'turn')}); {end}"
