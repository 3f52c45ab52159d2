"""What the gateway says when it turns a request away: HTTP 4xx or 5xx and a `Code` that is a word."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


__all__ = ["KNOWN", "Refusal"]


# The vendor's pages give different HTTP statuses for the same code; a client goes by the word.
KNOWN: dict[str, tuple[int, str]] = {
    "Throttling": (400, "Request was denied due to request throttling."),
    "Throttling.User": (429, "Request was denied due to user flow control."),
    "Throttling.Api": (429, "Request was denied due to api flow control."),
    "ServiceUnavailable": (503, "The request has failed due to a temporary failure of the server."),
    "InternalError": (500, "The request processing has failed due to some unknown error."),
    "SignatureNonceUsed": (400, "Specified signature nonce was used already."),
    "SignatureDoesNotMatch": (400, "Specified signature is not matched with our calculation."),
    "IncompleteSignature": (400, "The request signature does not conform to the standards."),
    "InvalidTimeStamp.Expired": (400, "Specified time stamp or date value is expired."),
    "InvalidTimeStamp.Format": (400, "Specified time stamp or date value is not well formatted."),
    "InvalidAccessKeyId.NotFound": (404, "Specified access key is not found."),
    "InvalidAccessKeyId.Inactive": (400, "Specified access key is disabled."),
    "InvalidSecurityToken.Expired": (400, "Specified SecurityToken is expired."),
    "InvalidSecurityToken.Malformed": (400, "Specified SecurityToken is malformed."),
    "MissingSecurityToken": (400, "SecurityToken is mandatory for this action."),
    "Forbidden.RAM": (
        403,
        "User not authorized to operate on the specified resource, or this API doesn't support RAM.",
    ),
    "Forbidden": (403, "User not authorized to operate on the specified resource."),
    "NoPermission": (403, "You are not authorized to do this action."),
    "InvalidAction.NotFound": (404, "Specified api is not found, please check your url and method."),
    "InvalidApi.NotFound": (404, "Specified api is not found, please check your url and method."),
    "InvalidProduct.NotFound": (404, "Cannot find product according to your specified domain."),
    "InvalidProtocol.NeedSsl": (404, "Your request is denied as lack of ssl protect."),
    "InvalidVersion": (400, "Specified parameter Version is not valid."),
    "UnsupportedHTTPMethod": (405, "This http method is not supported."),
}


@dataclass(frozen=True, slots=True)
class Refusal:
    """A request that the gateway turned away: it reached no service and cost nothing."""

    code: str
    detail: str = ""
    """Said after the code's usual message."""

    @property
    def status(self) -> int:
        """The HTTP status."""
        return KNOWN.get(self.code, (400, ""))[0]

    def body(self, host: str, request_id: str) -> dict[str, Any]:
        """The answer's JSON."""
        message = KNOWN.get(self.code, (400, ""))[1]
        return {
            "RequestId": request_id,
            "HostId": host,
            "Code": self.code,
            "Message": " ".join(part for part in (message, self.detail) if part),
            "Recommend": f"https://api.aliyun.com/troubleshoot?q={self.code}&product=Green&requestId={request_id}",
        }
