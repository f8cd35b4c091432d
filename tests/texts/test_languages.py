"""Which language a text is in, and that nothing is said where nobody is sure."""

import pytest

from tfhub_transfer.texts import languages, scripts

TEXTS = {
    "en": "The train to the coast was late again, so we had our tea at the station.",
    "de": "Der Zug an die Küste hatte wieder Verspätung, also tranken wir Tee am Bahnhof.",
    "fr": "Le train pour la côte était encore en retard, alors nous avons pris un thé à la gare.",
    "es": "El tren a la costa llegó otra vez tarde, así que tomamos un té en la estación.",
    "ru": "Поезд к морю опять опоздал, и мы выпили чаю на вокзале.",
    "ja": "海へ行く電車がまた遅れたので、駅でお茶を飲みました。",
}


@pytest.mark.parametrize("name", TEXTS)
def test_a_sentence_tells_its_language(name: str) -> None:
    assert languages.of_text(TEXTS[name]) == name
    assert languages.of_text(TEXTS[name].upper()) == name


@pytest.mark.parametrize(
    "text", ["", "  ", "ok", "12345 678", "!!! :-) ...", "<a href='x'>", "no", "a", "\ud83d", "😀"]
)
def test_of_what_nobody_can_be_sure_nothing_is_said(text: str) -> None:
    assert languages.of_text(text) is None


def test_of_two_halves_the_beginning_is_read() -> None:
    """A book takes no longer than its first page."""
    both = " ".join([TEXTS["en"]] * 10) + " " + " ".join([TEXTS["de"]] * 1000)
    assert languages.of_text(both) == "en"


def test_what_is_not_read_is_not_counted_either(monkeypatch: pytest.MonkeyPatch) -> None:
    """Letters of a long text were counted to its end: a quarter of a second for each million."""
    seen: list[int] = []
    counted = scripts.of_text

    def noted(text: str) -> str | None:
        seen.append(len(text))
        return counted(text)

    monkeypatch.setattr(scripts, "of_text", noted)
    assert languages.of_text(TEXTS["de"] * 100) == "de"
    assert seen == [500]
