"""Prompts: from a question and its sources to what a model is sent, by a template."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path

from jinja2 import StrictUndefined, TemplateError
from jinja2.sandbox import ImmutableSandboxedEnvironment

from headwater_server.assistant.config import AssistantConfigError
from headwater_server.assistant.protocol import Source

_BLOCKS = ("instructions", "message")
_MAX_TEMPLATE_BYTES = 1 << 20
_PROBE = "a probe 5d0c"


@dataclass(frozen=True, slots=True)
class Prompt:
    """What a model is sent for one question, the conversation before it apart."""

    instructions: str
    message: str


class PromptTemplate:
    """A template with its two blocks. The default's own comment says what a template is given."""

    def __init__(self, path: Path | None = None) -> None:
        """Reads and checks a template.

        Args:
            path: The file. None: the default template, which comes with the package.

        Raises:
            AssistantConfigError: The file cannot be read, is no template, lacks a block, cannot be rendered, leaves out
                question or sources, or puts a source's text into the instructions.
        """
        self._name = str(path) if path else "the default template"
        # Not HTML: a prompt is plain text, and what is put into it is a value and never a template.
        environment = ImmutableSandboxedEnvironment(autoescape=False, undefined=StrictUndefined)
        try:
            self._template = environment.from_string(_read(path))
        except (TemplateError, OSError, ValueError) as error:
            raise AssistantConfigError(f"prompt_template: {self._name} cannot be read: {error}") from error
        missing = [block for block in _BLOCKS if block not in self._template.blocks]
        if missing:
            raise AssistantConfigError(f"prompt_template: {self._name} has no block {missing[0]!r}")
        self._probe()

    def render(
        self, *, question: str, sources: Sequence[Source], grounded: bool, instructions: str = "", native: bool = False
    ) -> Prompt:
        """Renders the prompt.

        Args:
            question: What is asked.
            sources: The sources to present, best first.
            grounded: Whether the answer must rest on them.
            instructions: The caller's own instructions. Empty: none.
            native: Whether the model is given the sources apart, and cites them by itself: then the message holds the
                question alone, and the instructions ask for no markers.
        """
        known: dict[str, object] = {
            "grounded": grounded,
            "has_sources": bool(sources),
            "instructions": instructions.strip(),
            "native": native,
        }
        sources = () if native else sources
        shown = [
            {
                "number": source.id,
                "title": _line(source.title),
                "heading": _line(source.heading),
                "location": _line(source.location),
                "text": source.text.strip("\n"),
            }
            for source in sources
        ]
        texts = [question, *(value for entry in shown for value in entry.values())]
        message = {
            **known,
            "has_sources": bool(sources),
            "question": question,
            "sources": shown,
            "boundary": _boundary(texts),
        }
        return Prompt(self._block("instructions", known), self._block("message", message))

    def _block(self, name: str, values: dict[str, object]) -> str:
        return "".join(self._template.blocks[name](self._template.new_context(values))).strip("\n")

    def _probe(self) -> None:
        source = Source(id="1", text=f"text {_PROBE}", title="title", heading="heading", location="page 1")
        question = f"question {_PROBE}"
        for sources, grounded in (((source,), True), ((), True), ((), False)):
            try:
                prompt = self.render(question=question, sources=sources, grounded=grounded, instructions="be brief")
            except Exception as error:  # a template may raise whatever Python can
                raise AssistantConfigError(f"prompt_template: {self._name} cannot be rendered: {error}") from error
            if _PROBE in prompt.instructions:
                raise AssistantConfigError(f"prompt_template: {self._name} puts sources or question into instructions")
            if question not in prompt.message or any(source.text not in prompt.message for source in sources):
                raise AssistantConfigError(f"prompt_template: {self._name} leaves out the question or a source")


def _read(path: Path | None) -> str:
    if path is None:
        return files(__package__).joinpath("default_prompt.jinja").read_text(encoding="utf-8")
    with path.open("rb") as file:
        template = file.read(_MAX_TEMPLATE_BYTES + 1)
    if len(template) > _MAX_TEMPLATE_BYTES:
        raise ValueError("it is larger than 1 MiB")
    return template.decode()


def _line(text: str) -> str:
    return " ".join(text.split())


def _boundary(texts: Iterable[str]) -> str:
    """A word that is in none of the texts.

    It is made from all of them, so that the same question with the same sources gives the same prompt, which
    providers' caches like, and so that no document can hold the word that it would lead to.
    """
    digest = hashlib.sha256()
    joined = "\x00".join(texts)
    digest.update(joined.encode("utf-8", "surrogatepass"))
    while (word := digest.hexdigest()[:12]) in joined:
        digest.update(b"\x00")
    return word
