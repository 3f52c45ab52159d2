"""MultimodalAsyncModeration: a post with its comments, or a profile, is submitted and becomes a task.

The result is decided at once and shown later. An image that cannot be had finds nothing: the multimodal page has no
code for one, and the rest of the call is judged all the same. The page has no code for a call above the quota either:
403 is what the sibling operations answer.
"""

from __future__ import annotations

import hashlib
import re
from typing import TYPE_CHECKING, Any

from consumer.simulator import services, truth
from consumer.simulator.labels import NO_RISK
from consumer.simulator.ledger import Bill
from consumer.simulator.operations.operation import Answer, Asked, Operation
from consumer.simulator.operations.parameters import data_id_fault, service_parameters
from consumer.simulator.operations.picture import see
from consumer.simulator.operations.post import BadParameter, Part, Post, read_post
from consumer.simulator.tasks import Callback


if TYPE_CHECKING:
    from consumer.simulator.objects import Objects
    from consumer.simulator.words import Level


__all__ = ["MESSAGES", "OPERATION"]


MESSAGES = {
    200: "OK",
    280: "PROCESSING",
    400: "parameter is empty",
    401: "parameter is invalid",
    402: "parameter length is invalid",
    403: "qps limit exceeded",
    408: "permission denied",
    409: "ReqId not found",
    500: "system error",
}
"""Of both multimodal operations."""

_DATA_ID_LIMIT = 128
_CHARACTERS_A_UNIT = 1000
_SEED = re.compile(r"[A-Za-z0-9_]+")
_SEED_LIMIT = 64
_NO_RISK = {"Label": NO_RISK, "Description": "No non-compliant content detected"}


def _submit(call: Asked) -> Answer:
    name = call.parameters["Service"]
    if not name:
        return Answer(400, "Service is empty")
    service = services.find("MultimodalAsyncModeration", name)
    if service is None:
        return Answer(401, f"Service {name!r} is not a service of MultimodalAsyncModeration")
    if not call.parameters["ServiceParameters"]:
        return Answer(400, "ServiceParameters is empty")
    asked = service_parameters(call.parameters["ServiceParameters"])
    if asked is None:
        return Answer(401, "ServiceParameters is not a JSON object")
    wrong = data_id_fault(asked, _DATA_ID_LIMIT)
    if wrong is not None:
        return Answer(*wrong)
    try:
        post = read_post(asked)
        callback = _callback(asked)
    except BadParameter as error:
        return Answer(error.code, str(error))
    if post.has_comments and service.name != "post_text_image_detection":
        return Answer(401, "commentDatas is for posts only")

    account = call.account
    data_id = asked.get("dataId")
    result = ({} if data_id is None else {"DataId": data_id}) | _result(post, account.objects)
    task = account.tasks.add(name, result, callback, account.clock.monotonic())
    data = {key: value for key, value in task.data.items() if key in {"ReqId", "DataId"}}
    return Answer(200, "OK", data, _bills(service, post), data_id, task)


def _callback(asked: dict[str, Any]) -> Callback | None:
    """Where to report to, by the pages of the sibling operations: the multimodal page says no more than `callback`."""
    url, seed, crypt_type = asked.get("callback"), asked.get("seed"), asked.get("cryptType") or "SHA256"
    if not url:
        return None
    if not isinstance(url, str) or not url.startswith(("http://", "https://")):
        raise BadParameter(401, "callback is not an http or https URL")
    if not seed:
        raise BadParameter(400, "seed is empty, and a callback needs one")
    if not isinstance(seed, str) or not _SEED.fullmatch(seed):
        raise BadParameter(401, "seed may hold letters, digits and '_'")
    if len(seed) > _SEED_LIMIT:
        raise BadParameter(402, f"seed is longer than {_SEED_LIMIT} characters")
    if crypt_type not in {"SHA256", "SM3"}:
        raise BadParameter(401, f"cryptType is {crypt_type!r}, and must be SHA256 or SM3")
    if crypt_type == "SM3" and "sm3" not in hashlib.algorithms_available:
        raise BadParameter(400, "this machine's hashlib has no SM3")
    return Callback(url, seed, crypt_type)


def _bills(service: services.Service, post: Post) -> tuple[Bill, ...]:
    """A line for the text and one for the images; a plan loses its factors for each unit of both."""
    text_type, image_type = service.moderation_types
    thousands = -(-post.characters // _CHARACTERS_A_UNIT)
    text = Bill(text_type, thousands, thousands)
    images = post.image_count
    return (text, Bill(image_type, images, images)) if images else (text,)


def _result(post: Post, objects: Objects) -> dict[str, Any]:
    """What a query will get: the structure of the call, with labels in the place of contents."""
    levels: list[Level] = []
    main = _judged(post.main, objects, levels)
    comments = [_judged_comment(comment, objects, levels) for comment in post.comments]
    tokens_in, tokens_out = 200 + post.characters + 300 * post.image_count, 16 * len(levels)
    result: dict[str, Any] = {"RiskLevel": truth.highest(levels), "MainData": main}
    if post.has_comments:
        result["CommentDatas"] = comments
    usage = {"Total_tokens": tokens_in + tokens_out, "Output_tokens": tokens_out, "Input_tokens": tokens_in}
    return result | {"Usage": usage}


def _judged_comment(part: Part, objects: Objects, levels: list[Level]) -> dict[str, Any]:
    judged = _judged(part, objects, levels)
    if part.replies:
        judged["CommentDatas"] = [_judged(reply, objects, levels) for reply in part.replies]
    return judged


def _judged(part: Part, objects: Objects, levels: list[Level]) -> dict[str, Any]:
    """The labels of one part, of its texts first; each text and image that has one says so, so labels may recur."""
    found = [one for text in part.texts for one in truth.text(text).found]
    found += [one for image in part.images for one in see(image, "multimodal", objects).found]
    risky = [one for one in found if one.level != "none"]
    levels.extend([one.level for one in risky] or ["none"])
    return {"Results": [{"Label": one.label, "Description": one.description} for one in risky] or [_NO_RISK]}


OPERATION = Operation(
    name="MultimodalAsyncModeration",
    where="query",
    parameters=("Service", "ServiceParameters"),
    handler=_submit,
    quota="multimodal_submit",
    over_quota=403,
    message_field="Msg",
    messages=MESSAGES,
    billed_codes=frozenset({200, 280}),
)
