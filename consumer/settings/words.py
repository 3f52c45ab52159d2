"""The words of problems: what was found, what was expected, and the nearest right name. No secret is ever said."""

from __future__ import annotations

import difflib
from datetime import date
from typing import TYPE_CHECKING, Any


if TYPE_CHECKING:
    from collections.abc import Collection, Iterable

    from consumer.settings.shapes import Shape


__all__ = ["found", "meant", "nearest", "wrong"]


_SHOWN_CHARACTERS = 60


def nearest(word: str, right: Iterable[str], cutoff: float = 0.62) -> str | None:
    """The right name that is most like `word`, if any is like it at all; upper and lower case count as the same."""
    by_lower = {name.lower(): name for name in right}
    close = difflib.get_close_matches(word.lower(), by_lower, 1, cutoff)
    return by_lower[close[0]] if close else None


def meant(word: str, right: Iterable[str]) -> str:
    """The end of a sentence that proposes the nearest right name, or nothing."""
    near = nearest(word, right)
    return f"; did you mean {near}?" if near else ""


def found(value: Any, secrets: Collection[str] = ()) -> str:
    """A value in a few words. Lists, mappings and whatever holds a secret are only called by their kind."""
    if value is None:
        return "nothing"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, (list, dict)):
        return f"{'a list' if isinstance(value, list) else 'a mapping'}{'' if value else ' without entries'}"
    if isinstance(value, (str, int, float, date)):
        text = value.isoformat() if isinstance(value, date) else str(value)
        if not text:
            return "an empty text"
        if any(secret in text for secret in secrets):
            return "a text that holds a secret" if isinstance(value, str) else "a number that holds a secret"
        short = text if len(text) <= _SHOWN_CHARACTERS else f"{text[:_SHOWN_CHARACTERS]}…"
        return f"'{short}'" if isinstance(value, str) else short
    return "binary data"


def wrong(shape: Shape, value: Any, secrets: Collection[str] = ()) -> str:
    """What is wrong with a value that does not fit its key."""
    if shape.secret:
        said = "an empty text" if value == "" else found(value) if isinstance(value, (bool, list, dict)) else "a number"
    elif shape.section is not None or shape.base is dict:
        # A text where a section belongs may be all of it on one line, its password included.
        said = found(value) if not value or isinstance(value, (bool, list, dict)) else "a single value"
    else:
        said = found(value, secrets)
    hint = ""
    if shape.text and isinstance(value, (bool, int, float, date)):
        hint = "; put it in quotes to have it read as text"
    elif shape.choices and isinstance(value, str):
        hint = meant(value, shape.choices)
    expected = "text that is not empty" if shape.text and value == "" and not shape.examples else shape.expected
    return f"found {said}, expected {expected}{hint}"
