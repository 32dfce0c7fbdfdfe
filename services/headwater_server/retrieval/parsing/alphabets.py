"""The letters beyond ASCII of the languages that are written in Latin script, in lower case."""

from __future__ import annotations

ALPHABETS = (
    "äöüß",  # German
    "àâæçéèêëîïôœùûüÿ",  # French
    "áéíñóúü",  # Spanish
    "àáâãçéêíóôõúü",  # Portuguese
    "àèéìíîòóùú",  # Italian
    "àçèéíïòóúü·",  # Catalan
    "áèéëïóöü",  # Dutch
    "åäöéü",  # Swedish, Finnish
    "åæøéòô",  # Danish, Norwegian
    "áéíóúýþæöð",  # Icelandic
    "äöõüšž",  # Estonian
    "ąćęłńóśźż",  # Polish
    "áčďéěíňóřšťúůýž",  # Czech
    "áäčďéíĺľňóôŕšťúýž",  # Slovak
    "áéíóöőúüű",  # Hungarian
    "ăâîşșţț",  # Romanian
    "čćđšž",  # Croatian, Bosnian, Slovene
    "çëé",  # Albanian
    "çğıi̇öşüâîû",  # Turkish
    "āčēģīķļņšūž",  # Latvian
    "ąčęėįšųūž",  # Lithuanian
)

PUNCTUATION = frozenset("\xa0\xad¡¢£§©ª«®°±²³´µ·º»¼½¾¿×÷–—‘’‚“”„†‡•…‰‹›€™")
"""Signs that tell no language."""
