"""What is known of the services: one table, which the configuration can extend, and the routes used by default."""

from __future__ import annotations

import difflib
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import TYPE_CHECKING, Literal, get_args

from consumer.batching.thread import TOTAL_CHARACTERS
from consumer.errors import SettingsError
from consumer.moderation.protocol.endpoints import MAINLAND, Endpoint
from consumer.routing import Route, When


if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from consumer.settings.models import Service as ServiceSettings


__all__ = ["KNOWN", "QUOTAS", "Media", "Operation", "Quota", "Service", "default_routes", "resolve"]


Operation = Literal[
    "TextModerationPlus", "ImageModeration", "MultimodalAsyncModeration", "DescribeMultimodalModerationResult"
]
Quota = Literal["text", "image", "image_llm", "multimodal_submit", "multimodal_query"]
Media = Literal["text", "image", "multimodal"]

QUOTAS: tuple[Quota, ...] = get_args(Quota)


@dataclass(frozen=True, slots=True)
class Service:
    """One service: how it is called, which of the account's limits it counts against, and how it is billed.

    `max_characters` is the longest text of one call, 0 for services that take none. `regions` says where the vendor's
    pages offer it, as far as they say. `endpoint` is set where it is called somewhere else than the others.
    A multimodal service bills its text by `moderation_type` and its images by `image_type`; `threads` says whether it
    takes comments beside a post.

    `media` is what it judges. Its calls are `free` if they cost nothing, whatever comes of them: queries for results
    are, says their page. `gate` is what is held when it is: an account that may not submit may still ask for results.
    """

    name: str
    operation: Operation
    quota: Quota
    moderation_type: str
    max_characters: int = 0
    regions: frozenset[str] = frozenset()
    info_type: tuple[str, ...] = ()
    endpoint: Endpoint | None = None
    image_type: str = ""
    threads: bool = False
    media: Media = field(init=False, repr=False, compare=False)
    free: bool = field(init=False, repr=False, compare=False)
    gate: str = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        free = self.operation == "DescribeMultimodalModerationResult"
        # A frozen dataclass can be completed only so.
        object.__setattr__(self, "media", _MEDIA[self.operation])
        object.__setattr__(self, "free", free)
        object.__setattr__(self, "gate", f"{self.name} results" if free else self.name)

    @property
    def results(self) -> Service:
        """Where the results of this service's tasks are asked for: an operation with a limit of its own."""
        return replace(self, operation="DescribeMultimodalModerationResult", quota="multimodal_query")


_MEDIA: Mapping[Operation, Media] = MappingProxyType(
    {
        "TextModerationPlus": "text",
        "ImageModeration": "image",
        "MultimodalAsyncModeration": "multimodal",
        "DescribeMultimodalModerationResult": "multimodal",
    }
)


# The text page's table of regions leaves cells empty below the first of each group: they are read as merged cells.
_CROSS_BORDER = frozenset({"cn-hongkong", "ap-southeast-1", "us-east-1", "eu-central-1"})
# The image page's table, read likewise.
_IMAGE_GLOBAL = frozenset({"ap-southeast-1", "eu-west-1", "us-east-1", "us-west-1", "eu-central-1"})
_SINGAPORE = frozenset({"ap-southeast-1"})
# The multimodal page has Shanghai only; the guide to its SDK has Beijing, too.
_MULTIMODAL = frozenset({"cn-shanghai", "cn-beijing"})
_SHANGHAI = "cn-shanghai"


def _text(
    name: str, moderation_type: str = "text_standard", regions: frozenset[str] = MAINLAND, max_characters: int = 600
) -> Service:
    # The text page allows 50 calls/s to the services of large models. The others have 100/s, a limit nobody misses.
    return Service(name, "TextModerationPlus", "text", moderation_type, max_characters, regions)


def _image(
    name: str,
    moderation_type: str = "image_classic",
    regions: frozenset[str] = MAINLAND,
    quota: Quota = "image",
) -> Service:
    return Service(name, "ImageModeration", quota, moderation_type, regions=regions)


def _multimodal(name: str, *, threads: bool) -> Service:
    # The multimodal page: 5,000 characters and 30 images in all, 10 submissions a second.
    return Service(
        name,
        "MultimodalAsyncModeration",
        "multimodal_submit",
        "text_llm_standard",
        TOTAL_CHARACTERS,
        _MULTIMODAL,
        image_type="image_vl_standard",
        threads=threads,
    )


KNOWN: Mapping[str, Service] = MappingProxyType(
    {
        service.name: service
        for service in (
            # Text by large language models: the text page, and the international price page for the last two.
            _text("ugc_moderation_byllm", "text_llm_standard", max_characters=2000),
            _text("ugc_moderation_byllm_pro", "text_llm_standard", max_characters=2000),
            _text("aigc_moderation_byllm", "text_llm_standard", max_characters=2000),
            _text("ugc_moderation_byllm_cb", "text_llm_advanced", _CROSS_BORDER, 2000),
            _text("ugc_moderation_byllm_global", "text_advanced", _CROSS_BORDER, 2000),
            _text("ugc_moderation_byllm_ec", "text_llm_standard_cn", _CROSS_BORDER, 2000),
            # Text for and from models: the page of TextModerationPlus.
            _text("llm_query_moderation", max_characters=2000),
            _text("llm_response_moderation", max_characters=5000),
            # Text by rules: the same page. It names no limit for them; 600 characters is that of their predecessors.
            _text("nickname_detection_pro"),
            _text("chat_detection_pro"),
            _text("comment_detection_pro"),
            _text("ad_compliance_detection_pro"),
            _text("comment_multilingual_pro_cb", regions=_SINGAPORE),
            # Images, international: the image page, and its newer edition for the last three.
            _image("baselineCheck_global", "image_standard", _IMAGE_GLOBAL),
            _image("aigcDetector_global", "image_standard", _IMAGE_GLOBAL),
            _image("postImageCheckByVL_global", "image_advanced", _SINGAPORE, "image_llm"),
            _image("faceDetect_global", "image_standard", _SINGAPORE),
            _image("faceDetect_pro_global", "image_standard", _SINGAPORE),
            # Images, Chinese mainland: the page of Image Moderation 2.0; those by large models are limited to 50/s.
            _image("baselineCheck"),
            _image("baselineCheck_pro"),
            _image("baselineCheckByVL", "image_vl_standard", quota="image_llm"),
            _image("postImageCheck"),
            _image("postImageCheckByVL", "image_vl_standard", quota="image_llm"),
            _image("tonalityImprove"),
            _image("aigcCheck"),
            _image("aigcDetector"),
            _image("profilePhotoCheck"),
            _image("advertisingCheck"),
            _image("adCheckByVL", "image_vl_standard", frozenset({"cn-shanghai", "cn-beijing"}), "image_llm"),
            _image("liveStreamCheck"),
            _image("riskDetection"),
            # Text and images together, as tasks: the multimodal page.
            _multimodal("post_text_image_detection", threads=True),
            _multimodal("profile_text_image_detection", threads=False),
        )
    }
)


def resolve(extensions: Mapping[str, ServiceSettings]) -> Mapping[str, Service]:
    """The known services and the configured ones, each taking from the service it is `like` what it does not say.

    Raises:
        SettingsError: a service is like one that nobody knows, or its endpoint is none.
    """
    table = dict(KNOWN)
    problems: list[str] = []
    waiting = dict(extensions)
    while waiting:
        ready = [name for name, service in waiting.items() if service.like in KNOWN or service.like not in waiting]
        if not ready:
            problems.append(f"moderation.services: {', '.join(sorted(waiting))}: each is like another of these")
            break
        for name in ready:
            own = waiting.pop(name)
            where = f"moderation.services.{name}"
            like = table.get(own.like)
            if like is None:
                problems.append(f"{where}.like: {_unknown(own.like, table)}")
                continue
            try:
                endpoint = like.endpoint if own.endpoint is None else Endpoint.parse(own.endpoint)
            except ValueError as error:
                problems.append(f"{where}.endpoint: {error}")
                continue
            info_type = like.info_type if own.info_type is None else tuple(own.info_type)
            table[name] = replace(like, name=name, endpoint=endpoint, info_type=info_type)
    if problems:
        raise SettingsError(problems)
    return MappingProxyType(table)


def default_routes(region: str | None) -> tuple[Route, ...]:
    """The routes used when none are configured, with services that the region offers.

    An event with text and images has both judged, and its verdict is that of the riskier one. Content by models has
    its images judged by two services. Without a region (an endpoint that names none) the international services are
    taken: they know 119 languages, and where they are not offered the service refuses them instead of judging badly.

    Where the multimodal page offers its services (Shanghai), profiles are judged as a whole, and posts and comments in
    the context of their thread; images without a word have none and stay with the image services.
    """
    if region in MAINLAND:
        people, models, images, images_by_models = (
            "ugc_moderation_byllm",
            "aigc_moderation_byllm",
            "baselineCheck",
            "aigcDetector",
        )
    else:
        people = models = "ugc_moderation_byllm_cb"
        images, images_by_models = "baselineCheck_global", "aigcDetector_global"
    by_models = frozenset({"ai"})
    together = (
        Route("profiles", ("profile_text_image_detection",), When(kinds=frozenset({"profile"}))),
        Route("threads", ("post_text_image_detection",), When(kinds=frozenset({"post", "comment"}), has_text=True)),
    )
    return (
        *(together if region == _SHANGHAI else ()),
        Route("images_by_ai", (models, images_by_models, images), When(origins=by_models, has_images=True)),
        Route("text_by_ai", (models,), When(origins=by_models)),
        Route("images", (people, images), When(has_images=True)),
        Route("text", (people,)),
    )


def _unknown(name: str, table: Iterable[str]) -> str:
    near = difflib.get_close_matches(name, table, n=1, cutoff=0.5)
    return f"there is no service `{name}`" + (f"; did you mean `{near[0]}`?" if near else "")
