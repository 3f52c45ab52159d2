"""The services the simulator offers: which operation calls each, which labels it knows, and what it bills."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal


__all__ = ["SERVICES", "Labels", "Service", "find", "quota"]


Labels = Literal["text_mainland", "text_international", "image_baseline", "image_aigc", "image_face", "multimodal"]


@dataclass(frozen=True, slots=True)
class Service:
    """One service. `moderation_types` name its rows of the price list in `consumer.simulator.ledger`.

    `quota` is the class of the account's limit that it counts against, `max_characters` the longest text it takes.
    """

    name: str
    operation: str
    labels: Labels
    moderation_types: tuple[str, ...]
    quota: str
    max_characters: int = 0


def _text(
    name: str, moderation_type: str = "text_standard", labels: Labels = "text_mainland", max_characters: int = 600
) -> Service:
    return Service(name, "TextModerationPlus", labels, (moderation_type,), "text", max_characters)


def _image(
    name: str, moderation_type: str = "image_classic", labels: Labels = "image_baseline", quota: str = "image"
) -> Service:
    return Service(name, "ImageModeration", labels, (moderation_type,), quota)


def _multimodal(name: str) -> Service:
    types = ("text_llm_standard", "image_vl_standard")
    return Service(name, "MultimodalAsyncModeration", "multimodal", types, "multimodal_submit", 5000)


SERVICES: dict[str, Service] = {
    service.name: service
    for service in (
        # The text page, and the international price page for the last two.
        _text("ugc_moderation_byllm", "text_llm_standard", max_characters=2000),
        _text("ugc_moderation_byllm_pro", "text_llm_standard", max_characters=2000),
        _text("aigc_moderation_byllm", "text_llm_standard", max_characters=2000),
        _text("ugc_moderation_byllm_cb", "text_llm_advanced", "text_international", 2000),
        _text("ugc_moderation_byllm_global", "text_advanced", "text_international", 2000),
        _text("ugc_moderation_byllm_ec", "text_llm_standard_cn", "text_international", 2000),
        # The page of TextModerationPlus; of the services that go by rules it names no limit.
        _text("llm_query_moderation", max_characters=2000),
        _text("llm_response_moderation", max_characters=5000),
        _text("nickname_detection_pro"),
        _text("chat_detection_pro"),
        _text("comment_detection_pro"),
        _text("ad_compliance_detection_pro"),
        _text("comment_multilingual_pro_cb", labels="text_international"),
        # The image page, and its newer edition for the last three.
        _image("baselineCheck_global", "image_standard"),
        _image("aigcDetector_global", "image_standard", "image_aigc"),
        _image("postImageCheckByVL_global", "image_advanced", quota="image_llm"),
        _image("faceDetect_global", "image_standard", "image_face"),
        _image("faceDetect_pro_global", "image_standard", "image_face"),
        # The page of Image Moderation 2.0 for the Chinese mainland. Their labels are taken to be those of table 4.
        _image("baselineCheck"),
        _image("baselineCheck_pro"),
        _image("baselineCheckByVL", "image_vl_standard", quota="image_llm"),
        _image("postImageCheck"),
        _image("postImageCheckByVL", "image_vl_standard", quota="image_llm"),
        _image("tonalityImprove"),
        _image("aigcCheck"),
        _image("aigcDetector", labels="image_aigc"),
        _image("profilePhotoCheck"),
        _image("advertisingCheck"),
        _image("adCheckByVL", "image_vl_standard", quota="image_llm"),
        _image("liveStreamCheck"),
        _image("riskDetection"),
        # The multimodal page.
        _multimodal("post_text_image_detection"),
        _multimodal("profile_text_image_detection"),
    )
}

_COPY = re.compile(r"_\d{2}\Z")


def find(operation: str, name: str) -> Service | None:
    """The service of this operation by its name, or None.

    A copy made in the console has its original's name with a suffix such as `_01`, and behaves like it.
    """
    service = SERVICES.get(name) or SERVICES.get(_COPY.sub("", name))
    return service if service is not None and service.operation == operation else None


def quota(operation: str, name: str, otherwise: str) -> str:
    """The class of the account's limit that a call of this service counts against."""
    service = find(operation, name)
    return otherwise if service is None else service.quota
