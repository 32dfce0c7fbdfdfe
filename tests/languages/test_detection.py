from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headwater_server.languages.detection import language_of, with_neighbours
from headwater_server.languages.stop_words import STOP_WORDS
from headwater_server.retrieval.store.terms import detected_language

SENTENCES = {
    "ar": "يحق لكل موظف أن يأخذ ثلاثين يوما من الإجازة في السنة، ولا يجوز نقلها إلى السنة التالية.",
    "ca": "Tots els empleats tenen dret a trenta dies de vacances, però no les poden passar a l'any que ve amb això.",
    "cs": "Každý zaměstnanec má nárok na třicet dní dovolené za rok, které se nepřevádějí do dalšího roku.",
    "da": "Hver medarbejder har ret til tredive dages ferie, og de kan ikke blive overført til næste år.",
    "de": "Alle Angestellten haben dreißig Tage Urlaub im Jahr, und sie werden nicht in das nächste übertragen.",
    "el": "Κάθε εργαζόμενος έχει δικαίωμα σε τριάντα ημέρες άδειας και δεν μεταφέρονται στο επόμενο έτος.",
    "en": "Every employee has thirty days of leave a year, and they are not carried over to the next.",
    "es": "Todos los empleados tienen treinta días de vacaciones al año, que no se pueden pasar al siguiente.",
    "fa": "هر کارمند در سال سی روز مرخصی دارد که به سال بعد منتقل نمی شود.",
    "fi": "Jokaisella työntekijällä on kolmekymmentä päivää lomaa vuodessa, eikä sitä voi siirtää niin kuin ennen.",
    "fr": "Tous les employés ont trente jours de congé par an, qui ne sont pas reportés sur l'année suivante.",
    "hi": "हर कर्मचारी को साल में तीस दिन की छुट्टी का अधिकार है और वह अगले साल में नहीं जाती है।",
    "hu": "Minden dolgozónak harminc nap szabadsága van egy évben, és ez nem vihető át a következő évre.",
    "id": "Setiap karyawan berhak atas tiga puluh hari cuti dalam setahun dan tidak dapat dibawa ke tahun depan.",
    "it": "Ogni dipendente ha trenta giorni di ferie all'anno, che non si possono portare nel prossimo.",
    "nl": "Alle medewerkers hebben dertig dagen vakantie per jaar, en die worden niet naar het volgende overgedragen.",
    "no": "Alle ansatte har tretti feriedager i året, og disse kan ikke bli overført til neste år eller noe annet år.",
    "pl": "Każdy pracownik ma trzydzieści dni urlopu w roku, których nie można przenieść na następny.",
    "pt": "Todos os empregados têm trinta dias de férias por ano, que não são transferidos para o próximo.",
    "ro": "Fiecare angajat are dreptul la treizeci de zile de concediu pe an, care nu sunt reportate în anul următor.",
    "ru": "Каждый сотрудник имеет право на тридцать дней отпуска в год, и они не переносятся на следующий.",
    "sv": "Alla anställda har trettio dagars semester om året, och den kan inte föras över till nästa år.",
    "tr": "Her çalışanın yılda otuz gün izin hakkı vardır ve bu izin bir sonraki yıla devredilemez.",
}


def test_every_language_with_stop_words_is_tried() -> None:
    assert set(SENTENCES) == set(STOP_WORDS)


@pytest.mark.parametrize("language", sorted(SENTENCES))
def test_a_sentence_tells_its_language(language: str) -> None:
    assert detected_language(SENTENCES[language]) == language


@pytest.mark.parametrize("text", ["", "42", "Headwater", "東京の天気", "foo(bar) { baz }"])
def test_what_has_no_function_words_is_in_no_language(text: str) -> None:
    assert detected_language(text) == ""


def test_a_word_in_another_language_does_not_mislead() -> None:
    assert detected_language(f"{SENTENCES['de']} The End") == "de"


def test_a_passage_that_cannot_be_told_takes_after_its_document() -> None:
    assert with_neighbours(["de", "", "de", "en", ""]) == ["de", "de", "de", "en", "de"]
    assert with_neighbours(["", ""]) == ["", ""]
    assert with_neighbours([]) == []


@given(st.lists(st.text(max_size=8)))
def test_any_words_are_in_one_language_or_none(words: list[str]) -> None:
    assert language_of(words) in {"", *STOP_WORDS}
