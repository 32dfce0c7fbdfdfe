"""What kind of answer a question wants, by its words."""

from __future__ import annotations

import re
from dataclasses import dataclass

_NUMBER = re.compile(
    r"\d|\b(?:one|two|three|four|five|six|seven|eight|nine|ten|eleven|twelve|dozen|half|twice|once|hundred|thousand|"
    r"million|percent|daily|weekly|monthly|annually|yearly|immediately|midnight|noon)\b",
    re.IGNORECASE,
)
_PERSON = re.compile(
    r"\b(?:all|any|every|each|everyone|anyone|employees?|staff|managers?|supervisors?|officers?|team|members?|owners?|"
    r"department|office|you|citizens?|applicants?|contractors?|specialists?|people|persons?)\b|(?<=\w )[A-Z][a-z]+"
)
_PLACE = re.compile(r"\b(?:in|at|on|to|from|near|under|via|inside|outside)\b|https?://|www\.", re.IGNORECASE)
_REASON = re.compile(
    r"\b(?:because|since|due to|so that|in order to|therefore|reasons?|as a result|owing)\b", re.IGNORECASE
)
_STEP = re.compile(
    r"\b(?:must|should|need to|needs to|can|have to|use|click|go to|submit|send|complete|fill|contact|ask|request|"
    r"select|sign|enter|call|email|visit|open|by \w+ing)\b",
    re.IGNORECASE,
)

_CUES = (
    (
        re.compile(
            r"\bhow (?:many|much|long|old|often|quickly|soon|far|fast|large|big|high|tall|late|early)\b|\bwhen\b|"
            r"\b(?:what|which) (?:\w+ )?(?:date|time|year|day|month|number|amount|percentage|rate|cost|price|limit)\b|"
            r"\b(?:maximum|minimum|deadline|at most|at least)\b",
            re.IGNORECASE,
        ),
        _NUMBER,
    ),
    (re.compile(r"\bwho(?:m|se)?\b", re.IGNORECASE), _PERSON),
    (re.compile(r"\bwhere\b", re.IGNORECASE), _PLACE),
    (re.compile(r"\bwhy\b|\bfor what reason\b", re.IGNORECASE), _REASON),
    (re.compile(r"\bhow (?:do|does|can|should|to|would|must)\b", re.IGNORECASE), _STEP),
)


@dataclass(frozen=True, slots=True)
class Cue:
    """What an answer to a question looks like, if the question's words say so."""

    pattern: re.Pattern[str] | None

    @classmethod
    def of(cls, question: str) -> Cue:
        """The cue of a question; of several the first."""
        return cls(next((answer for asked, answer in _CUES if asked.search(question)), None))

    def fits(self, text: str) -> bool | None:
        """Whether a text looks like an answer. None: the question says nothing about that."""
        return None if self.pattern is None else self.pattern.search(text) is not None
