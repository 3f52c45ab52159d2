"""The auxiliary information of an image answer, `Ext`: each kind when it is asked for and there is something to say.

    customImage     CustomImage    each hit in an image library (labels that end in _lib)
    textInImage     TextInImage    the text read (labels that end in _tii), its risk words, its hits in word libraries
    publicFigure    PublicFigure   political figures, prohibited persons, tainted celebrities
    logoData        LogoData       pt_logo, political_logo, religion_logo

For three kinds the pages name no `infoType`; they come unasked: AigcData (the label a generator wrote into the image)
from the AIGC services for a generated image, FaceData from the face services for an image with `face` in its name, and
VlContent (the model's own words) from the services of large models.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any


if TYPE_CHECKING:
    from consumer.simulator import truth
    from consumer.simulator.services import Service


__all__ = ["INFO_TYPES", "extra_of"]


INFO_TYPES = frozenset({"customImage", "textInImage", "publicFigure", "logoData"})

_FIGURE = re.compile(r"political_(?:politicalFigure|prohibitedPerson|taintedCelebrity)")
_LOGO = re.compile(r"(?:pt|political|religion)_logo")
_FACE = re.compile(r"(?<![A-Za-z])face(?![A-Za-z])")


def extra_of(seen: truth.ImageTruth, asked: frozenset[str], service: Service, name: str) -> dict[str, Any]:
    """What `Ext` holds for an image of this name; empty for most."""
    extra: dict[str, Any] = {}
    libraries = [one for one in seen.found if one.library is not None]
    if "customImage" in asked and libraries:
        extra["CustomImage"] = [
            {"ImageId": f"image-{one.label}", "LibId": "simulator-images", "LibName": one.library} for one in libraries
        ]
    texts = [one for one in seen.found if one.label.removesuffix("_lib").endswith("_tii")]
    if "textInImage" in asked and texts:
        extra["TextInImage"] = _text_in_image(texts)
    shown = [one for one in seen.found if one not in texts]
    figures = [one for one in shown if _FIGURE.match(one.label)]
    if "publicFigure" in asked and figures:
        extra["PublicFigure"] = [
            {"FigureName": one.description, "FigureId": f"figure-{one.label}", "Location": [_place(line)]}
            for line, one in enumerate(figures)
        ]
    logos = [one for one in shown if _LOGO.match(one.label)]
    if "logoData" in asked and logos:
        extra["LogoData"] = [
            {
                "Logo": [{"Name": one.description, "Label": one.label, "Confidence": one.confidence}],
                "Location": _place(line),
            }
            for line, one in enumerate(logos)
        ]
    if service.labels == "image_aigc" and "aigc" in seen.labels:
        extra["AigcData"] = {
            "AIGC": {
                "Label": "1",
                "ContentProducer": "simulator-producer",
                "ProduceID": "simulator-image",
                "ContentPropagator": "simulator-propagator",
                "PropagateID": "simulator-post",
                "ReservedCode1": "",
                "ReservedCode2": "",
            }
        }
    if service.labels == "image_face" and _FACE.search(name):
        extra["FaceData"] = [_FACE_DATA]
    if service.quota == "image_llm":
        extra["VlContent"] = {"OutputText": "; ".join(one.description for one in seen.found)}
    return extra


def _text_in_image(texts: list[truth.Found]) -> dict[str, Any]:
    return {
        "OcrResult": [{"Text": one.description, "Location": _place(line)} for line, one in enumerate(texts)],
        "RiskWord": [one.description for one in texts if one.library is None],
        "CustomText": [
            {"LibId": "simulator-words", "LibName": one.library, "KeyWords": one.description}
            for one in texts
            if one.library is not None
        ],
    }


def _place(line: int) -> dict[str, int]:
    """A box of its own for each thing found."""
    return {"X": 10, "Y": 10 + 40 * line, "W": 200, "H": 30}


def _value(value: str) -> dict[str, Any]:
    return {"Value": value, "Confidence": 99.0}


_FACE_DATA: dict[str, Any] = {
    "Age": 30,
    "Gender": _value("FeMale"),
    "Bang": _value("None"),
    "Glasses": "None",
    "Hairstyle": _value("Long"),
    "Hat": _value("None"),
    "Mask": _value("None"),
    "Mustache": _value("None"),
    "Quality": {"Blur": 1.0, "Integrity": 99.0, "Pitch": 0.0, "Roll": 0.0, "Yaw": 0.0},
    "Smile": 80.0,
    "Location": _place(0),
}
