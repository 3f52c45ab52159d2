"""The simulator without its sockets: a transport whose requests it answers, but for those that a rule is about."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl, urlencode, urlsplit

import orjson

from consumer.errors import NoAnswer
from consumer.moderation.calling.transport import HttpAnswer
from consumer.simulator import labels as tables
from consumer.simulator import oss, services
from consumer.simulator.backend import Backend, Reply, Request
from consumer.simulator.faults import OF_CALLBACKS, OF_TASKS, Faults
from consumer.simulator.settings import QUOTAS, SimulatorSettings


if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from consumer.clock import Clock
    from consumer.simulator.faults import Fault


__all__ = ["Rule", "Sent", "StandIn"]


ANSWER_SECONDS = 0.05

_SUBMIT, _RESULT = "MultimodalAsyncModeration", "DescribeMultimodalModerationResult"
_JUDGING = ("TextModerationPlus", "ImageModeration", _SUBMIT)
_DESCRIPTIONS = {**tables.TEXT_MAINLAND, **tables.TEXT_INTERNATIONAL, **tables.BASELINE, **tables.AIGC}
_CLEAN: Mapping[str, Any] = {"Label": tables.NO_RISK, "Description": "No risk detected"}


@dataclass(frozen=True, slots=True)
class Sent:
    """One request by which something is judged, as the service read it; a multimodal one has all of its texts."""

    service: str
    text: str
    images: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Rule:
    """What the service says of some requests: those whose service, text and image are these, or all where it is None.

    It is about a text or an image that has `text` or `image` in it. With a `fault` this befalls the request; else it is
    judged to be of this `risk_level`, for these labels.
    """

    text: str | None = None
    image: str | None = None
    service: str | None = None
    risk_level: str = "none"
    labels: tuple[str, ...] = ()
    fault: Fault | None = None

    def is_about(self, sent: Sent) -> bool:
        """Whether it says what becomes of this request."""
        return (
            self.service in {None, sent.service}
            and (self.text is None or self.text in sent.text)
            and (self.image is None or any(self.image in image for image in sent.images))
        )

    def results(self) -> list[dict[str, Any]]:
        """The labels as an answer has them."""
        found = [
            {"Label": label, "Description": _DESCRIPTIONS.get(label, label), "Confidence": 95.0}
            for label in self.labels
        ]
        return found or [dict(_CLEAN)]


class StandIn:
    """A service in the same process, as an `UploadTransport`. It has no quota.

    Args:
        clock: The time.
        rules: What it says; the first that is about a request decides, and the simulator where none is.
        copies: The known service that each of the user's own is like.
        timeout_seconds: After how long a request without an answer is given up.
        heard: Told of each request by which something is judged, at once, by the task that sends it.
    """

    def __init__(
        self,
        clock: Clock,
        *,
        rules: Sequence[Rule] = (),
        copies: Mapping[str, str] | None = None,
        timeout_seconds: float = 30.0,
        heard: Callable[[Sent], None] = lambda _: None,
    ) -> None:
        settings: dict[str, Any] = {f"{quota}_per_second": None for quota in QUOTAS}
        self._backend = Backend(SimulatorSettings(verify=False, **settings), clock)
        self._clock = clock
        self._rules = [(rule, None if rule.fault is None else Faults([rule.fault])) for rule in rules]
        self._copies = copies or {}
        self._timeout_seconds = timeout_seconds
        self._heard = heard

    async def post(self, url: str, headers: Mapping[str, str], body: bytes) -> HttpAnswer:
        """Answer one request after a moment; see `Transport`."""
        where, operation = urlsplit(url), headers["x-acs-action"]
        parameters = dict(parse_qsl(body.decode() or where.query, keep_blank_values=True))
        sent = _sent(parameters) if operation in _JUDGING else None
        if sent is not None:
            self._heard(sent)
        await asyncio.sleep(ANSWER_SECONDS)
        rule, fault = None, None
        if sent is not None:
            rule, faults = next(((one, dice) for one, dice in self._rules if one.is_about(sent)), (None, None))
            fault = None if faults is None else faults.strike(operation, sent.service, _kinds(rule))
            parameters["Service"] = self._known(operation, sent.service)
        form = urlencode(parameters)
        target, content = (f"/?{form}", b"") if where.query else ("/", form.encode())
        call = self._backend.receive(Request("POST", target, {**headers, "host": where.netloc}, content))
        if isinstance(call, Reply):
            return await self._answered(call)
        if fault is not None and fault.kind in OF_TASKS | OF_CALLBACKS:
            self._backend.faults.set([replace(fault, count=1, share=1.0)])
        reply = self._backend.answer(call if rule is None else replace(call, fault=_of_call(fault)))
        self._backend.faults.set([])
        if rule is not None and rule.fault is None and reply.status == 200:
            reply = replace(reply, body=self._ruled(operation, parameters, reply.body, rule))
        return await self._answered(reply)

    async def put(self, url: str, headers: Mapping[str, str], body: bytes) -> HttpAnswer:
        """Take one file after a moment; see `UploadTransport`."""
        await asyncio.sleep(ANSWER_SECONDS)
        where = urlsplit(url)
        request = Request("PUT", where.path, {**headers, "host": where.netloc}, body)
        return await self._answered(oss.serve(request, oss.object_name(request) or "", self._backend))

    def _known(self, operation: str, name: str) -> str:
        """The service of the simulator that answers for this one."""
        return name if services.find(operation, name) is not None else self._copies.get(name, name)

    async def _answered(self, reply: Reply) -> HttpAnswer:
        if reply.way == "reset":
            raise NoAnswer("the connection was reset", begun=False)
        seconds = self._timeout_seconds if reply.way == "hang" else reply.seconds
        await asyncio.sleep(min(seconds, self._timeout_seconds))
        if seconds >= self._timeout_seconds:
            raise NoAnswer("TimeoutError", begun=reply.way == "trickle")
        return HttpAnswer(reply.status, reply.body, {"content-type": reply.content_type, **reply.headers})

    def _ruled(self, operation: str, parameters: Mapping[str, str], body: bytes, rule: Rule) -> bytes:
        """An answer that says what the rule says."""
        answer = orjson.loads(body)
        data = answer.get("Data")
        if answer["Code"] != 200 or data is None:
            return body
        if operation != _SUBMIT:
            data |= {"RiskLevel": rule.risk_level, "Result": rule.results()}
            return orjson.dumps(answer)
        task = self._backend.account.tasks.find(data["ReqId"], self._clock.monotonic())
        if task is not None:
            task.data["RiskLevel"] = rule.risk_level
            for asked, found in _parts(orjson.loads(parameters["ServiceParameters"]), task.data):
                about = rule.is_about(Sent(rule.service or "", *_content(asked)))
                found["Results"] = rule.results() if about else [dict(_CLEAN)]
        return body


def _kinds(rule: Rule | None) -> frozenset[str]:
    """The one kind of fault that a rule has."""
    return frozenset() if rule is None or rule.fault is None else frozenset({rule.fault.kind})


def _of_call(fault: Fault | None) -> Fault | None:
    """A fault that befalls the call itself, and not its task later."""
    return None if fault is None or fault.kind in OF_TASKS | OF_CALLBACKS else fault


def _sent(parameters: Mapping[str, str]) -> Sent:
    asked = orjson.loads(parameters["ServiceParameters"])
    if "mainData" not in asked:
        return Sent(parameters["Service"], *_content(asked))
    contents = [_content(part) for part, _ in _parts(asked, {})]
    texts = "\n".join(text for text, _ in contents if text)
    return Sent(parameters["Service"], texts, tuple(image for _, images in contents for image in images))


def _parts(asked: Mapping[str, Any], found: Mapping[str, Any]) -> Iterator[tuple[dict[str, Any], dict[str, Any]]]:
    """Each part of a multimodal call, with its part of the result: the post, its comments, and the replies to these."""
    main, result = asked.get("mainData"), found.get("MainData", {})
    if main is not None:
        yield (main[0] if isinstance(main, list) else main), result
    comments = found.get("CommentDatas", ())
    for number, comment in enumerate(asked.get("commentDatas") or ()):
        said = comments[number] if number < len(comments) else {}
        yield comment, said
        yield from _parts({"commentDatas": comment.get("commentDatas")}, said)


def _content(part: Mapping[str, Any]) -> tuple[str, tuple[str, ...]]:
    """The text and the images of a call, or of a part of one."""
    texts = [part[name] for name in ("mainTitle", "mainContent", "content") if part.get(name)]
    images = part.get("mainImages") or part.get("images") or [part]
    return "\n".join(texts), tuple(place for image in images if (place := _place(image)))


def _place(image: Mapping[str, Any]) -> str:
    if image.get("imageUrl"):
        return str(image["imageUrl"])
    name = image.get("ossObjectName")
    return f"oss://{image.get('ossBucketName')}/{name}" if name else ""
