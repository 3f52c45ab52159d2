"""A test can know beforehand what the simulator will find."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from consumer.simulator import labels, truth
from consumer.simulator.words import WORDS, Word


@pytest.mark.parametrize("word", WORDS, ids=lambda word: f"{word.language}-{word.text}")
def test_every_word_is_found_with_its_label_and_level(word: Word) -> None:
    """A text that holds a word of the list gets that word's label and level, in both label tables."""
    for table, label in (("text_mainland", word.mainland), ("text_international", word.international)):
        found = truth.text(f"… {word.text} …", table)  # type: ignore[arg-type]  # a plain str here
        assert found.labels == ((label,) if label else ("nonLabel",))
        assert found.risk_level == (word.level if label else "none")


def test_labels_are_those_of_the_vendors_tables() -> None:
    """No word has a label that the text page does not list for its market."""
    assert {word.mainland for word in WORDS} - {None} <= labels.TEXT_MAINLAND.keys()
    assert {word.international for word in WORDS} - {None} <= labels.TEXT_INTERNATIONAL.keys()
    assert (len(labels.TEXT_MAINLAND), len(labels.TEXT_INTERNATIONAL)) == (30, 21)


def test_all_languages_are_there() -> None:
    """The list speaks more than ten languages, so that a demo can."""
    assert {word.language for word in WORDS} >= {
        "en",
        "zh",
        "es",
        "fr",
        "de",
        "pt",
        "ru",
        "ar",
        "ja",
        "ko",
        "vi",
        "id",
        "th",
    }


def test_a_clean_text_has_one_label_and_no_confidence() -> None:
    """What holds no word of the list is `nonLabel` with risk `none`."""
    found = truth.text("Good morning, what a lovely concert! 早上好")
    assert found.risk_level == "none"
    assert [(one.label, one.confidence, one.spots) for one in found.found] == [("nonLabel", None, ())]


def test_the_highest_level_wins_and_all_labels_are_given() -> None:
    """A text with several risks has all their labels, in the order they appear, and the highest of their levels."""
    found = truth.text("damn it, buy cocaine at our Online Casino. BUY COCAINE")
    assert found.labels == ("inappropriate_oral", "contraband_drug", "contraband_gambling")
    assert found.risk_level == "high"
    assert [(spot.start, spot.end) for spot in found.found[1].spots] == [(9, 20), (43, 54)]


def test_a_word_within_a_word_is_not_found() -> None:
    """`you idiot` is not found in `thank you idiotproof guide`, while Chinese needs no spaces."""
    assert truth.text("thank you idiotproof guide").risk_level == "none"
    assert truth.text("今天去在线赌场玩").labels == ("contraband_gambling",)


@given(st.text(max_size=40), st.sampled_from([word for word in WORDS if word.mainland]), st.text(max_size=40))
def test_positions_point_at_the_words(before: str, word: Word, after: str) -> None:
    """Whatever stands around a risk word, its position cuts exactly that word out of the text."""
    content = f"{before} {word.text} {after}"
    spots = [spot for one in truth.text(content).found for spot in one.spots]
    assert word.text in [spot.word for spot in spots]
    assert all(content[spot.start : spot.end] == spot.word for spot in spots)


@pytest.mark.parametrize("label", [*labels.BASELINE, *(f"{label}_lib" for label in labels.BASELINE)])
def test_every_label_of_table_4_can_be_asked_for(label: str) -> None:
    """A label of table 4 in an image's name is found, with or without what usually surrounds it in a name."""
    for name in (f"{label}.jpg", f"my_{label}_0042.png", f"{label}-2.webp"):
        assert truth.image(f"https://cdn.example.com/{name}").labels == (label,)


def test_there_are_as_many_image_labels_as_in_table_4() -> None:
    """The image page's table 4 has 73 labels."""
    assert len(labels.BASELINE) == 73


@pytest.mark.parametrize(
    ("path", "level", "found"),
    [
        ("/cats/1.jpg", "none", ("nonLabel",)),
        ("/high/1.jpg", "high", ("violent_bloody",)),
        ("/medium/1.jpg", "medium", ("sexual_suggestiveContent",)),
        ("/low/1.jpg", "low", ("inappropriate_tattoo",)),
        ("/low/violent_explosion.jpg", "low", ("violent_explosion",)),
        ("/violent_gun.jpg", "high", ("violent_gun",)),
        ("/medium/QRCode,contraband_gamble_tii.jpg", "medium", ("QRCode", "contraband_gamble_tii")),
        ("/violent_explosion_lib+violent_explosion.jpg", "high", ("violent_explosion_lib", "violent_explosion")),
        ("/nonLabel_lib/violent_gun.jpg", "none", ("nonLabel_lib",)),
        ("/high%2Fscript_logo.png", "high", ("violent_bloody",)),
        ("/script_logo.png", "none", ("nonLabel",)),
        ("/violent_kitten.png", "none", ("nonLabel",)),
    ],
)
def test_an_image_is_what_its_path_says(path: str, level: str, found: tuple[str, ...]) -> None:
    """Parts of the path give the level, labels in it are found, all else is clean."""
    seen = truth.image(f"https://cdn.example.com{path}?x=/low/")
    assert (seen.code, seen.risk_level, seen.labels) == (200, level, found)


@pytest.mark.parametrize("code", [404, 405, 406, 407])
def test_an_image_can_be_unusable(code: int) -> None:
    """A code from 404 to 407 as a part of the path is what the service answers."""
    assert truth.image(f"https://cdn.example.com/{code}/high/1.jpg") == truth.ImageTruth(code, "none", ())


@pytest.mark.parametrize(
    ("path", "level", "label"),
    [("/aigc/1.jpg", "medium", "aigc"), ("/high/aigc_7.jpg", "high", "aigc"), ("/high/1.jpg", "none", "ugc")],
)
def test_the_aigc_detector_always_gives_a_label(path: str, level: str, label: str) -> None:
    """The AIGC service says `aigc` or `ugc`, never `nonLabel`; only the level tells whether there is a risk."""
    seen = truth.image(f"https://cdn.example.com{path}", "image_aigc")
    assert (seen.risk_level, seen.labels) == (level, (label,))
