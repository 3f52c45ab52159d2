"""The stand-in for object storage: local images are uploaded here before they are judged.

`PUT /<bucket>/<object>`, or `PUT /<object>` to a host that begins with the bucket's name, signed by version 1 of the
OSS header signature: `Authorization: OSS <AccessKeyId>:<signature>` with the token's `x-oss-security-token`. GET and
HEAD show what was uploaded, to anybody. Errors are XML, as those of OSS. Uploads are counted as operation PutObject;
the faults of calls befall them, too: `code=503,operation=PutObject` is answered with that HTTP status.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING
from urllib.parse import unquote

from consumer.simulator.backend import Reply
from consumer.simulator.faults import UNBILLED
from consumer.simulator.objects import BUCKET, MAX_UPLOAD_BYTES
from consumer.simulator.signature import MAX_SKEW_SECONDS


if TYPE_CHECKING:
    from collections.abc import Mapping

    from consumer.simulator.account import Account
    from consumer.simulator.backend import Backend, Request
    from consumer.simulator.faults import Fault
    from consumer.simulator.objects import Objects


__all__ = ["object_name", "serve", "signature"]


_PUT = "PutObject"
_STATUS = {
    "AccessDenied": 403,
    "InvalidAccessKeyId": 403,
    "InvalidSecurityToken": 403,
    "SecurityTokenExpired": 403,
    "SignatureDoesNotMatch": 403,
    "RequestTimeTooSkewed": 403,
    "InvalidDigest": 400,
    "EntityTooLarge": 400,
    "NoSuchKey": 404,
    "MethodNotAllowed": 405,
}


def object_name(request: Request) -> str | None:
    """The object that a request is about; None for one that is not about the bucket."""
    path = unquote(request.target.partition("?")[0])
    if request.headers.get("host", "").startswith(f"{BUCKET}."):
        return path.removeprefix("/")
    return path.removeprefix(f"/{BUCKET}/") if path.startswith(f"/{BUCKET}/") else None


def serve(request: Request, name: str, backend: Backend) -> Reply:
    """Take an object, or show one."""
    account = backend.account
    if request.method == "PUT":
        fault = backend.faults.strike(_PUT, _PUT)
        reply = _put(request, name, account) if fault is None or fault.kind not in UNBILLED else _befallen(fault)
        if fault is not None and fault.kind == "reset_billed":
            reply = Reply(way="reset")
        backend.stats.saw(_PUT, str(reply.status) if reply.way == "whole" or fault is None else fault.kind)
        return reply
    if request.method not in {"GET", "HEAD"}:
        return _error("MethodNotAllowed")
    stored = account.objects.get(name)
    if stored is None:
        return _error("NoSuchKey")
    return Reply(body=stored.content, content_type=stored.content_type, headers=_etag(stored.content))


def signature(secret: str, method: str, name: str, headers: Mapping[str, str]) -> str:
    """What stands behind the AccessKey's id in `Authorization`; `headers` by lower-case name."""
    extra = sorted((key, value.strip()) for key, value in headers.items() if key.startswith("x-oss-"))
    lines = [
        method,
        headers.get("content-md5", ""),
        headers.get("content-type", ""),
        headers.get("x-oss-date") or headers.get("date", ""),
        *(f"{key}:{value}" for key, value in extra),
        f"/{BUCKET}/{name}",
    ]
    return base64.b64encode(hmac.digest(secret.encode(), "\n".join(lines).encode(), "sha1")).decode()


def _befallen(fault: Fault) -> Reply:
    if fault.kind in {"reset", "hang"}:
        return Reply(way="hang" if fault.kind == "hang" else "reset")
    if fault.code is not None and not fault.code.isdecimal():
        return _error(fault.code)
    status = int(fault.code or fault.kind.removeprefix("http_"))
    return Reply(status, _xml("Simulated"), content_type="application/xml")


def _put(request: Request, name: str, account: Account) -> Reply:
    headers = request.headers
    wrong = _refused(request, name, account.objects, account.clock.now()) if account.settings.verify else None
    if wrong is not None:
        return _error(wrong)
    if len(request.body) > MAX_UPLOAD_BYTES:
        return _error("EntityTooLarge")
    digest = hashlib.md5(request.body, usedforsecurity=False).digest()
    if headers.get("content-md5", "") not in {"", base64.b64encode(digest).decode()}:
        return _error("InvalidDigest")
    account.objects.put(name, request.body, headers.get("content-type", "application/octet-stream"))
    return Reply(content_type="text/plain", headers=_etag(request.body))


def _refused(request: Request, name: str, objects: Objects, now: float) -> str | None:
    headers = request.headers
    scheme, _, credential = headers.get("authorization", "").partition(" ")
    key, _, signed = credential.partition(":")
    if scheme != "OSS" or not signed:
        return "AccessDenied"
    token = objects.token(key)
    if token is None:
        return "InvalidAccessKeyId"
    if headers.get("x-oss-security-token") != token.security_token:
        return "InvalidSecurityToken"
    try:
        sent_at = parsedate_to_datetime(headers.get("x-oss-date") or headers.get("date", "")).timestamp()
    except ValueError:
        return "AccessDenied"
    if abs(now - sent_at) > MAX_SKEW_SECONDS:
        return "RequestTimeTooSkewed"
    if not hmac.compare_digest(signature(token.access_key_secret, request.method, name, headers), signed):
        return "SignatureDoesNotMatch"
    if token.expiration <= now:
        return "SecurityTokenExpired"
    return None if name.startswith(token.prefix) and name != token.prefix else "AccessDenied"


def _etag(content: bytes) -> dict[str, str]:
    return {"ETag": f'"{hashlib.md5(content, usedforsecurity=False).hexdigest().upper()}"'}


def _error(code: str) -> Reply:
    return Reply(_STATUS.get(code, 400), _xml(code), content_type="application/xml")


def _xml(code: str) -> bytes:
    text = f'<?xml version="1.0" encoding="UTF-8"?>\n<Error><Code>{code}</Code><Message>{code}</Message></Error>\n'
    return text.encode()
