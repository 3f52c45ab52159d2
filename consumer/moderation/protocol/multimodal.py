"""Batch → the submission of a task, and task id → the query for its result: pure functions that send nothing.

Both operations take their parameters in the URL's query, and have no body.
"""

from __future__ import annotations

import json
import re
from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from consumer.errors import ContentRefused, RouteError
from consumer.event import data_id
from consumer.moderation.protocol.requests import Call, image_parameters
from consumer.moderation.protocol.signing import canonical_query, percent_encode


if TYPE_CHECKING:
    from collections.abc import Mapping

    from consumer.batching.thread import Batch, Part
    from consumer.event import Event, Image
    from consumer.moderation.protocol.services import Service
    from consumer.moderation.tasks.seeds import CallbackAddress


__all__ = ["DATA_ID_CHARACTERS", "post_time", "prepared", "result_query", "submission"]


DATA_ID_CHARACTERS = 128

_EPOCH_SECONDS = re.compile(r"\d{9,11}(\.\d+)?")
_EPOCH_MILLISECONDS = re.compile(r"\d{12,13}")


def prepared(event: Event, service: Service) -> Event:
    """The event as this service takes it: of a profile, the nickname is the text.

    Raises:
        RouteError: there is nothing to judge.
        ContentRefused: an image that the service would not take. A call of many must not fail for one of them.
    """
    if not service.threads and not event.text.strip() and event.author.nickname:
        event = replace(event, text=event.author.nickname)
    event = replace(event, images=tuple(dict.fromkeys(event.images)))
    if not event.text.strip() and not event.title.strip() and not event.images:
        raise RouteError("there is nothing to judge: no text and no image", code="nothing_to_judge")
    for image in event.images:
        _image(image)
    return event


def submission(batch: Batch, service: Service, main_id: str, callback: CallbackAddress | None = None) -> Call:
    """The call that submits these parts as one task.

    Args:
        batch: the parts, the main post (or profile) first.
        service: which multimodal service.
        main_id: the id of the event that is the main post; it becomes `dataId`, which the answer repeats.
        callback: where the result is to be reported; without it, it has to be asked for.

    Raises:
        ContentRefused: an image that the service would not take.
    """
    main, *others = batch.parts
    data: dict[str, Any] = {"mainTitle": main.title} if main.title else {}
    # The page marks the images as required, too: where there are none the list is empty, as in its example's comments.
    data |= {"mainContent": main.text, "mainImages": [_image(image) for image in main.images]}
    if (posted := post_time(main.posted_at)) is not None:
        data["mainPostTime"] = posted
    parameters: dict[str, Any] = {"dataId": data_id(main_id, limit=DATA_ID_CHARACTERS), "mainData": data}
    if others:
        parameters["commentDatas"] = _comments(others)
    if callback is not None:
        parameters |= callback.parameters()
    query = canonical_query({"Service": service.name, "ServiceParameters": _shortest_json(parameters)})
    # The pages do not say what a character is. As with texts, it is a code point.
    characters = sum(len(part.title) + len(part.text) for part in batch.parts)
    return Call(service, query=query, characters=characters, images=batch.images)


def result_query(service: Service, task_id: str) -> Call:
    """The call that asks for a task's result; it is free, and has a limit of its own."""
    return Call(service.results, query=canonical_query({"ReqId": task_id}))


def post_time(posted_at: str | None) -> str | None:
    """When it was posted, as the service takes it: `YYYY-MM-DD HH:MM:SS`, in UTC where the zone is known.

    ISO 8601, and seconds or milliseconds since the epoch, are read; what is anything else is left out.
    """
    text = (posted_at or "").strip()
    try:
        if _EPOCH_MILLISECONDS.fullmatch(text):
            moment = datetime.fromtimestamp(int(text) / 1000, UTC)
        elif _EPOCH_SECONDS.fullmatch(text):
            moment = datetime.fromtimestamp(float(text), UTC)
        else:
            moment = datetime.fromisoformat(text)
            moment = moment if moment.tzinfo is None else moment.astimezone(UTC)
    except (ValueError, OverflowError):
        return None
    return f"{moment:%Y-%m-%d %H:%M:%S}" if moment.year >= 1970 else None


def _comments(parts: list[Part]) -> list[dict[str, Any]]:
    """Comments in their order, replies within the comment they answer. The planner numbers both without holes."""
    comments: list[dict[str, Any]] = []
    for part in parts:
        comment: dict[str, Any] = {"content": part.text}
        if part.images:
            comment["images"] = [_image(image) for image in part.images]
        if (posted := post_time(part.posted_at)) is not None:
            comment["postTime"] = posted
        siblings = comments if len(part.path) == 1 else comments[part.path[0]].setdefault("commentDatas", [])
        siblings.append(comment)
    return comments


def _image(image: Image) -> Mapping[str, str]:
    if image.file is not None or image.content is not None:
        raise ContentRefused(
            "the multimodal services take images by URL or from a bucket: a file cannot be sent to them",
            code="image_local",
        )
    return image_parameters(image)


def _shortest_json(parameters: Mapping[str, Any]) -> str:
    """Compact JSON, with or without escapes for what is not ASCII: whichever makes the shorter URL.

    Nobody says how long a URL the gateway takes. In a URL a Chinese character takes 9 bytes as it is and 8 as an
    escape; a Greek one takes 6 and 8, an emoji 12 and 16.
    """
    escaped = json.dumps(parameters, separators=(",", ":"))
    # Half a surrogate pair has no UTF-8. What an old client cut in two is still to be judged.
    plain = json.dumps(parameters, separators=(",", ":"), ensure_ascii=False)
    whole = plain.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
    if whole != plain:
        return whole
    return min(plain, escaped, key=lambda text: len(percent_encode(text)))
