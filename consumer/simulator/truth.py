"""What the simulator finds in a text or an image: pure, and always the same for the same content.

A text is risky if it holds a word of `WORDS`. An image is what its URL says:

    /low/ /medium/ /high/      a part of the path: the risk level of what is found; alone, of a default label
    violent_explosion          a label of table 4 anywhere in the path: found, level high unless the path says else;
                               two labels are told apart by anything but letters, digits and _
    violent_explosion_lib      the same, as a hit in the account's own image library
    nonLabel_lib               a hit in the account's allow list: no risk
    aigc                       in the path: AI-generated, to the AIGC detectors (medium unless the path says else)
    /404/ /405/ /406/ /407/    a part of the path: the image cannot be had, comes too slowly, is too large, is no image

Anything else is clean, and so is every image to the face services, which judge nothing.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit

from consumer.simulator import labels as tables
from consumer.simulator.words import WORDS, Level, Word


if TYPE_CHECKING:
    from collections.abc import Iterable

    from consumer.simulator.services import Labels


__all__ = ["WORDS", "Found", "ImageTruth", "Spot", "TextTruth", "highest", "image", "text"]


_RANK: dict[Level, int] = {"none": 0, "low": 1, "medium": 2, "high": 3}
_CONFIDENCE: dict[Level, float] = {"low": 60.75, "medium": 80.25, "high": 95.5}
_DEFAULT_LABEL: dict[Level, str] = {
    "low": "inappropriate_tattoo",
    "medium": "sexual_suggestiveContent",
    "high": "violent_bloody",
}
_CLEAN_IMAGE_CODE = 200
_UNUSABLE_IMAGE = {"404": 404, "405": 405, "406": 406, "407": 407}


@dataclass(frozen=True, slots=True)
class Spot:
    """Where a risk word stands: code points from the start of the text, `end` exclusive."""

    word: str
    start: int
    end: int


@dataclass(frozen=True, slots=True)
class Found:
    """One label that was found; `confidence` is None where the vendor gives none. `library` names a custom library."""

    label: str
    description: str
    confidence: float | None
    level: Level
    spots: tuple[Spot, ...] = ()
    library: str | None = None

    @property
    def words(self) -> tuple[str, ...]:
        """The risk words as they stand in the text, each once."""
        return tuple(dict.fromkeys(spot.word for spot in self.spots))


@dataclass(frozen=True, slots=True)
class TextTruth:
    """The verdict on a text. A clean one has the single label `nonLabel`."""

    risk_level: Level
    found: tuple[Found, ...]

    @property
    def labels(self) -> tuple[str, ...]:
        """The names of the labels."""
        return tuple(one.label for one in self.found)


@dataclass(frozen=True, slots=True)
class ImageTruth:
    """The verdict on an image; `code` is 200, or 404 to 407 for an image that cannot be judged (and nothing found)."""

    code: int
    risk_level: Level
    found: tuple[Found, ...]

    @property
    def labels(self) -> tuple[str, ...]:
        """The names of the labels."""
        return tuple(one.label for one in self.found)


_CLEAN = Found(tables.NO_RISK, "No risk detected", None, "none")
_ALLOWED = Found(tables.NO_RISK_LIBRARY, "Hit allowlist", 83.0, "none", library="Simulator Allowlist")
_UGC = Found("ugc", tables.AIGC["ugc"], 97.4, "none")
_CLEAN_TEXT = TextTruth("none", (_CLEAN,))


def _pattern(word: str) -> re.Pattern[str]:
    # Scripts that put spaces between words need word borders, else "oral" would be found in "moral".
    spaced = not re.search(r"[\u0e00-\u0e7f\u3040-\u30ff\u4e00-\u9fff\uac00-\ud7af]", word)
    return re.compile(rf"(?<!\w){re.escape(word)}(?!\w)" if spaced else re.escape(word), re.IGNORECASE)


# Folded first: a plain search of each word in the folded text is what a clean text costs.
_FOLDED: tuple[tuple[str, re.Pattern[str], Word], ...] = tuple(
    (word.text.casefold(), _pattern(word.text), word) for word in WORDS
)


def text(content: str, labels: Labels = "text_mainland") -> TextTruth:
    """The truth about a text, in the labels of the mainland's services or of the international ones."""
    folded = content.casefold()
    international = labels == "text_international"
    descriptions = tables.TEXT_INTERNATIONAL if international else tables.TEXT_MAINLAND
    hits: dict[str, tuple[Word, list[Spot]]] = {}
    for key, pattern, word in _FOLDED:
        if key not in folded:
            continue
        label = word.international if international else word.mainland
        spots = [Spot(hit.group(), hit.start(), hit.end()) for hit in pattern.finditer(content)]
        if label is not None and spots:
            hits.setdefault(label, (word, []))[1].extend(spots)
    if not hits:
        return _CLEAN_TEXT
    found = [
        Found(
            label=label,
            description=descriptions[label],
            confidence=word.confidence,
            level=word.level,
            spots=tuple(sorted(spots, key=lambda spot: spot.start)),
            library=word.library,
        )
        for label, (word, spots) in hits.items()
    ]
    found.sort(key=lambda one: one.spots[0].start)
    return TextTruth(highest(one.level for one in found), tuple(found))


def image(url: str, labels: Labels = "image_baseline") -> ImageTruth:
    """The truth about an image, by the path of its URL or by the name of its object in a bucket."""
    path = unquote(urlsplit(url).path)
    parts = path.split("/")
    for part in parts:
        if part in _UNUSABLE_IMAGE:
            return ImageTruth(_UNUSABLE_IMAGE[part], "none", ())
    level = next((level for level in _DEFAULT_LABEL if level in parts), None)
    if labels == "image_aigc":
        found = _generated(path, level)
    else:
        found = [_CLEAN] if labels == "image_face" else _pictured(path, level)
    return ImageTruth(_CLEAN_IMAGE_CODE, highest(one.level for one in found), tuple(found))


def highest(levels: Iterable[Level]) -> Level:
    """The riskiest of some levels."""
    return max(levels, key=_RANK.__getitem__)


_GENERATED = re.compile(r"(?<![A-Za-z])aigc(?![A-Za-z])")
_LABEL = re.compile(
    "(?<![A-Za-z0-9])(?:(?:"
    + "|".join(sorted({label.split("_", 1)[0] + "_" for label in tables.BASELINE if "_" in label}))
    + r")\w+|QRCode\w*|nonLabel_lib)",
    re.ASCII,
)


def _generated(path: str, level: Level | None) -> list[Found]:
    if not _GENERATED.search(path):
        return [_UGC]
    level = level or "medium"
    return [Found("aigc", tables.AIGC["aigc"], _CONFIDENCE[level], level)]


def _pictured(path: str, level: Level | None) -> list[Found]:
    labels = dict.fromkeys(label for candidate in _LABEL.findall(path) if (label := _known(candidate)) is not None)
    if tables.NO_RISK_LIBRARY in labels:
        return [_ALLOWED]
    if not labels and level is not None:
        labels = {_DEFAULT_LABEL[level]: None}
    if not labels:
        return [_CLEAN]
    level = level or "high"
    return [_pictured_label(label, level) for label in labels]


def _pictured_label(label: str, level: Level) -> Found:
    plain = label.removesuffix("_lib")
    if plain == label:
        return Found(label, tables.BASELINE[plain], _CONFIDENCE[level], level)
    description = f"{tables.BASELINE[plain]}_Hit custom library"
    return Found(label, description, _CONFIDENCE[level], level, library="Simulator Images")


def _known(candidate: str) -> str | None:
    """The longest label that starts the candidate: `violent_gun_0042` holds `violent_gun`."""
    while candidate:
        if candidate == tables.NO_RISK_LIBRARY or candidate.removesuffix("_lib") in tables.BASELINE:
            return candidate
        candidate = candidate.rpartition("_")[0]
    return None
