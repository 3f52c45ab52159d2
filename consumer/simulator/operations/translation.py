"""What an account with translation switched on gets beside a text's verdict: its language, and the text in English.

The language is that of the first risk word, else that of the text's script; the translation puts the English words of
the list in the place of those found, and leaves the rest as it is.
"""

from __future__ import annotations

import re

from consumer.simulator.words import WORDS, Word


__all__ = ["language_of", "translate"]


_SCRIPTS = {
    "ja": re.compile(r"[\u3040-\u30ff]"),
    "ko": re.compile(r"[\uac00-\ud7af]"),
    "zh": re.compile(r"[\u4e00-\u9fff]"),
    "th": re.compile(r"[\u0e00-\u0e7f]"),
    "ar": re.compile(r"[\u0600-\u06ff]"),
    "ru": re.compile(r"[\u0400-\u04ff]"),
}


def _meaning(word: Word) -> tuple[str | None, str | None]:
    return word.mainland, word.international


_ENGLISH = {_meaning(word): word.text for word in reversed(WORDS) if word.language == "en"}


def language_of(text: str) -> str:
    """A two-letter code; English where nothing tells."""
    folded = text.casefold()
    for word in WORDS:
        if word.text.casefold() in folded:
            return word.language
    return next((language for language, script in _SCRIPTS.items() if script.search(text)), "en")


def translate(text: str) -> str:
    """The text with the risk words of other languages in English."""
    for word in WORDS:
        english = _ENGLISH.get(_meaning(word))
        if word.language != "en" and english is not None:
            text = re.sub(re.escape(word.text), english, text, flags=re.IGNORECASE)
    return text
