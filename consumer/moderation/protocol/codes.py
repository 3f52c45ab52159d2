"""The codes table: what each answer means for the event, the retry, the quota, the bill and readiness, as data."""

from __future__ import annotations

from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import TYPE_CHECKING, Literal

from consumer.moderation.protocol.responses import Layer


if TYPE_CHECKING:
    from collections.abc import Mapping

    from consumer.moderation.protocol.responses import Answer
    from consumer.settings.models import OnDenied


__all__ = [
    "BUSINESS",
    "CONSEQUENCES",
    "GATEWAY",
    "NOT_SENT",
    "NO_ANSWER",
    "UNKNOWN",
    "UNREADABLE",
    "Code",
    "Consequence",
    "HoldReason",
    "Outcome",
    "Page",
    "failing",
    "look_up",
]


Outcome = Literal[
    "judged",  # the answer holds a judgement, or what else was asked for
    "pending",  # the task is accepted, and not yet done
    "lost",  # the service does not know this task, or not any more
    "refused",  # this content will never be taken
    "retry",  # something failed: try again, for as long as it takes
    "retry_few",  # an image could not be had: try again a few times, then give it up
    "throttled",  # too fast: slow down and try again
    "hold",  # nobody can be served until a person has acted
    "review",  # nobody can be served, and people judge in the meantime, as configured
    "reload_credentials",  # the credentials may have been replaced: read them anew, then hold
    "clock",  # our clock is wrong: take the service's time, then hold
]
HoldReason = Literal["permission", "signature", "credentials", "clock", "configuration", "failing"]
Page = Literal["text", "image", "multimodal", "siblings", "gateway", "ours"]


@dataclass(frozen=True, slots=True)
class Code:
    """One row. A gateway code that ends in `*` stands for all that begin like it.

    `billed` says whether such an answer is paid for; `pages` which of the vendor's pages describe the code, where
    "siblings" are those of other operations of the same product; `holds` whether a hold concerns the service called or
    the whole account.
    """

    code: int | str
    meaning: str
    outcome: Outcome
    billed: Literal["yes", "no", "unknown"]
    remedy: str
    pages: tuple[Page, ...]
    reason: HoldReason | None = None
    holds: Literal["nothing", "service", "account"] = "nothing"


@dataclass(frozen=True, slots=True)
class Consequence:
    """What an outcome means: for the event, for trying again, for the quota, and for readiness."""

    event: str
    retry: str
    quota: str
    readiness: str


CONSEQUENCES: Mapping[Outcome, Consequence] = MappingProxyType(
    {
        "judged": Consequence(
            "a verdict; without a known risk level `review`",
            "no; without a known risk level once, since it is paid for",
            "one token",
            "ready",
        ),
        "pending": Consequence("waits for its result", "asked for again, until the deadline", "one token", "ready"),
        "lost": Consequence("`review`: its result can no longer be had", "no", "one token", "ready"),
        "refused": Consequence(
            "a dead letter; `review` where another part of it was judged", "no", "one token", "ready"
        ),
        "retry": Consequence(
            "waits; `review` when its tries are used up",
            "yes, with growing pauses; counted in so far as others are served",
            "one token for each try",
            "ready, unless most of the service's calls fail",
        ),
        "retry_few": Consequence(
            "waits; then a dead letter, or `review` where another part of it was judged",
            "twice",
            "one token for each try",
            "ready",
        ),
        "throttled": Consequence(
            "waits", "yes, for as long as it takes", "the rate is lowered at once and recovers slowly", "ready"
        ),
        "hold": Consequence("waits", "one call at a time, as a probe", "one token for each probe", "holding"),
        "review": Consequence("`review`", "no", "one token", "ready"),
        "reload_credentials": Consequence(
            "waits",
            "at once if there are newer credentials; else one call at a time, as a probe",
            "one token for each try",
            "holding, unless there are newer credentials",
        ),
        "clock": Consequence(
            "waits",
            "at once with the service's time; else one call at a time, as a probe",
            "one token for each try",
            "holding, if the service's time does not help",
        ),
    }
)
"""What each outcome means; `docs/codes.md` is written from it and from the rows."""

_WAIT = "Nothing: it is tried again. If it lasts, open a ticket with the request ids."

_SHARE = "Give each deployment its share in `quota`, or have the account's limit raised."
_ALL: tuple[Page, ...] = ("text", "image", "multimodal")

BUSINESS: Mapping[int, Code] = MappingProxyType(
    {
        row.code: row
        for row in (
            Code(200, "Judged.", "judged", "yes", "Nothing.", _ALL),
            Code(280, "The task is in progress.", "pending", "yes", "Nothing.", ("multimodal",)),
            Code(
                400,
                "A request parameter is missing, empty or malformed.",
                "refused",
                "no",
                "Look at the event: its text or image may be empty in a way we do not see.",
                _ALL,
            ),
            Code(
                401,
                "A request parameter is invalid.",
                "refused",
                "no",
                "Look at the event, and whether the region offers the route's service.",
                ("image", "multimodal"),
            ),
            Code(
                402,
                "A request parameter is too long.",
                "refused",
                "no",
                "Look at the event's text and image addresses.",
                ("image", "multimodal"),
            ),
            Code(
                403,
                "The account's calls a second are exceeded.",
                "throttled",
                "no",
                _SHARE,
                ("image", "siblings"),
            ),
            Code(
                404,
                "The service could not download the image.",
                "retry_few",
                "no",
                "Check that the image's address is public and lasts longer than the lag of this consumer.",
                ("image",),
            ),
            Code(
                405,
                "The service did not get the image within its 3 seconds.",
                "retry_few",
                "no",
                "Serve images faster, or let the service read them from a bucket (`oss`).",
                ("image",),
            ),
            Code(
                406,
                "The image is too large: over 20 MB, 16,384 pixels a side, or 167 million pixels.",
                "refused",
                "no",
                "Have a smaller rendition judged.",
                ("image",),
            ),
            Code(
                407,
                "The image's format is not supported.",
                "refused",
                "no",
                "Have a rendition judged that is PNG, JPEG, WEBP, GIF, BMP, TIFF, SVG, HEIF or ICO.",
                ("image",),
            ),
            Code(
                408,
                "The account may not use this service: not activated, payment overdue, or not authorised.",
                "hold",
                "no",
                "Activate the service, pay, or grant AliyunYundunGreenWebFullAccess; the consumer goes on by itself.",
                _ALL,
                "permission",
                "service",
            ),
            Code(
                409,
                "The service does not know this task: asked for too early, or over 24 hours old.",
                "lost",
                "no",
                "If it comes often, look at the lag of this consumer: results are kept for 24 hours.",
                ("siblings",),
            ),
            Code(500, "The service failed.", "retry", "no", _WAIT, _ALL),
            Code(581, "The service timed out.", "retry", "no", _WAIT, ("text",)),
            Code(588, "The account's calls a second are exceeded.", "throttled", "no", _SHARE, ("text",)),
        )
        if isinstance(row.code, int)
    }
)
"""Codes in the body of an answer, by number; a number means the same on every page that has it."""

_PERMIT = "Grant the RAM user AliyunYundunGreenWebFullAccess; the consumer goes on by itself."
_KEYS = "Check the AccessKey in `moderation.credentials`: it was removed, disabled, or has expired."
_PLACE = "Check `moderation.region` and `moderation.endpoint`: the service is not offered there."
_SECRET = "Check the secret in `moderation.credentials`, and that no proxy changes the request."  # noqa: S105  # advice
_CLOCK = "Set this machine's clock; it is more than 15 minutes from the service's."


def _gateway(code: str, meaning: str, outcome: Outcome, remedy: str) -> Code:
    return Code(code, meaning, outcome, "no", remedy, ("gateway",))


def _holds(code: str, meaning: str, reason: HoldReason, remedy: str, outcome: Outcome = "hold") -> Code:
    return Code(code, meaning, outcome, "no", remedy, ("gateway",), reason, "account")


GATEWAY: tuple[Code, ...] = (
    _gateway("Throttling*", "The gateway limits the account's calls.", "throttled", _SHARE),
    _gateway("ServiceUnavailable*", "The service is not available.", "retry", _WAIT),
    _gateway("InternalError*", "The gateway failed.", "retry", _WAIT),
    _gateway("SignatureNonceUsed", "The request had been seen before.", "retry", "Nothing: it is signed anew."),
    _holds("InvalidTimeStamp*", "The request's date is too far from the service's.", "clock", _CLOCK, "clock"),
    _holds("IllegalTimestamp*", "The request's date is too far from the service's.", "clock", _CLOCK, "clock"),
    _holds("SignatureDoesNotMatch*", "The signature is wrong.", "signature", _SECRET),
    _holds("IncompleteSignature*", "The signature is incomplete.", "signature", _SECRET),
    _holds("InvalidSignature*", "The signature is wrong.", "signature", _SECRET),
    _holds("MissingSignature*", "The signature is missing.", "signature", _SECRET),
    _holds("MissingAuthorization*", "The signature is missing.", "signature", _SECRET),
    _holds("InvalidAccessKeyId*", "The AccessKey is unknown or disabled.", "credentials", _KEYS, "reload_credentials"),
    _holds("MissingAccessKeyId*", "The AccessKey is missing.", "credentials", _KEYS, "reload_credentials"),
    _holds("InvalidSecurityToken*", "The STS token is invalid.", "credentials", _KEYS, "reload_credentials"),
    _holds("MissingSecurityToken*", "The STS token is missing.", "credentials", _KEYS, "reload_credentials"),
    _holds("Forbidden*", "The AccessKey may not call this.", "permission", _PERMIT),
    _holds("NoPermission*", "The AccessKey may not call this.", "permission", _PERMIT),
    _holds("InvalidAction*", "The operation is not offered here.", "configuration", _PLACE),
    _holds("InvalidApi*", "The operation is not offered here.", "configuration", _PLACE),
    _holds("InvalidProduct*", "The product is not offered here.", "configuration", _PLACE),
    _holds("InvalidVersion*", "The interface's version is not offered here.", "configuration", _PLACE),
    _holds("InvalidProtocol*", "The endpoint wants https.", "configuration", _PLACE),
    _holds("UnsupportedHTTPMethod*", "The endpoint is none of this service.", "configuration", _PLACE),
    _gateway("Missing*", "A request parameter is missing.", "refused", BUSINESS[400].remedy),
    _gateway("Invalid*", "A request parameter is invalid.", "refused", BUSINESS[401].remedy),
)
"""Codes of the gateway before the service, the first that fits; their HTTP status differs from page to page."""

UNKNOWN = Code("unknown", "A code that no page describes.", "retry", "unknown", _WAIT, ("ours",))
"""Any other code: tried again, then somebody has to look."""
UNREADABLE = Code(
    "unreadable",
    "No answer of the service: a proxy's page, or something broken.",
    "retry",
    "unknown",
    "Look at what stands between this consumer and the service.",
    ("ours",),
)
"""An answer that is not of the service's form."""
_NETWORK = "Look at the network; the time-outs are in `moderation.timeouts`."
NOT_SENT = Code("transport", "No connection could be made.", "retry", "no", _NETWORK, ("ours",))
"""The service cannot have read the request."""
NO_ANSWER = Code("transport", "The answer did not come whole or in time.", "retry", "unknown", _NETWORK, ("ours",))
"""The service may have read the request."""


_DENIED_REVIEW = replace(BUSINESS[408], outcome="review", reason=None, holds="nothing")


def failing(row: Code) -> Code:
    """The hold of a service most of whose calls fail, the last one like this."""
    meaning = f"Most of the service's calls fail; the last one: {row.meaning}"
    return replace(row, meaning=meaning, outcome="hold", reason="failing", holds="service")


def look_up(answer: Answer, on_denied: OnDenied = "hold") -> Code:
    """The row of an answer. With `on_denied` as `review`, 408 holds nothing: people judge what the service does not."""
    code = answer.code
    if answer.layer is Layer.UNREADABLE:
        return UNREADABLE
    if isinstance(code, int):
        return _DENIED_REVIEW if code == 408 and on_denied == "review" else BUSINESS.get(code, UNKNOWN)
    for row in GATEWAY:
        name = str(row.code)
        if code == name or (name.endswith("*") and str(code).startswith(name[:-1])):
            return row
    return UNKNOWN
