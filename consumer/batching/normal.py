"""When different texts count as the same: Unicode forms, characters that are not seen, repeated punctuation marks."""

from __future__ import annotations

import re
import unicodedata
from types import MappingProxyType
from typing import TYPE_CHECKING, Literal


if TYPE_CHECKING:
    from collections.abc import Collection, Mapping


__all__ = ["INVISIBLE", "JOINERS", "MARKS", "MOST_REPEATS", "WIDTHS", "Form", "hides", "normal"]


Form = Literal["unicode", "invisible", "repeats"]

INVISIBLE: Mapping[str, str] = MappingProxyType(
    {
        "\u00ad": "soft hyphen",
        "\u200b": "zero width space",
        "\u2060": "word joiner",
        "\u2061": "function application",
        "\u2062": "invisible times",
        "\u2063": "invisible separator",
        "\u2064": "invisible plus",
        "\ufeff": "zero width no-break space",
    }
)
"""What is left out wherever it stands: none of these is ever seen, but for where a line may be broken.

Others change what is seen, and stay: variation selectors (❤ and ❤️), the tags of flags (🏴 and 🏴󠁧󠁢󠁥󠁮󠁧󠁿), directional marks
and overrides, fillers and blanks that are as wide as a letter, and joiners between what can be joined.
"""

JOINERS: Mapping[str, str] = MappingProxyType({"\u200c": "zero width non-joiner", "\u200d": "zero width joiner"})
"""What is left out between two of A-Z, a-z and 0-9, which nothing joins.

Elsewhere they make another word of a Persian or an Indic one, and one family 👨‍👩‍👧 of three people.
"""

MARKS = "!?.,;:~…‥。，、！？；：～〜·・．｡､‼⁇⁈⁉¡¿؟،؛۔।॥"
"""The punctuation marks that people repeat to be louder. What masks letters (`*`, `#`) or draws things is not in it."""

MOST_REPEATS = 3
"""So many of one mark in a row stay."""


WIDTHS: Mapping[str, str] = MappingProxyType(
    {
        "\u00a0": " ",
        "\u2026": "...",
        "\u3000": " ",
        "\uff01": "!",
        "\uff08": "(",
        "\uff09": ")",
        "\uff0c": ",",
        "\uff1b": ";",
        "\uff1f": "?",
    }
)
"""The part of `unicode` that hides nothing: marks and spaces as many keyboards write them. A wide full stop, colon or
slash is not among them: it hides an address.
"""

_NOT_SEEN = re.compile(f"[{''.join(INVISIBLE)}]+")
_JOINED = re.compile(f"(?<=[A-Za-z0-9])[{''.join(JOINERS)}]+(?=[A-Za-z0-9])")
_REPEATED = re.compile(f"([{re.escape(MARKS)}])\\1{{{MOST_REPEATS},}}")
_WIDTHS = str.maketrans(dict(WIDTHS))


def normal(text: str, forms: Collection[Form]) -> str:
    """The one text that stands for all that count as the same by these forms; normalising it again changes nothing.

    `unicode` makes NFKC of it, `invisible` leaves out `INVISIBLE` and `JOINERS`, and `repeats` all but `MOST_REPEATS`
    of the same of `MARKS` in a row, in this order. A text stays as it is where nothing but white space would be left.
    """
    whole = text
    if not text.isascii():
        if "unicode" in forms:
            text = unicodedata.normalize("NFKC", text)
        if "invisible" in forms:
            seen = _JOINED.sub("", _NOT_SEEN.sub("", text))
            # What they kept apart may now be one character.
            text = unicodedata.normalize("NFKC", seen) if "unicode" in forms else seen
    if "repeats" in forms:
        text = _REPEATED.sub(lambda run: run[1] * MOST_REPEATS, text)
    return text if text and not text.isspace() else whole


def hides(text: str, forms: Collection[Form]) -> bool:
    """Whether words may be in disguise in it: normalising changes more of it than `WIDTHS` and repeated marks."""
    if text.isascii():
        return False
    plain = text.translate(_WIDTHS) if "unicode" in forms else text
    return normal(plain, [form for form in forms if form != "repeats"]) != plain
