"""Local images: a token, an upload to the stand-in for object storage, and a verdict on what was uploaded."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from email.utils import formatdate
from typing import Any

import pytest

from consumer.simulator import Fault, objects, oss
from consumer.simulator.backend import Reply, Request
from consumer.simulator.objects import BUCKET
from tests.simulator.plain import Bench


PNG = b"\x89PNG\r\n\x1a\n"


class Uploads(Bench):
    """A bench with a token, and uploads with it."""

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)
        self.token = self.new_token()

    def new_token(self) -> dict[str, Any]:
        """The data of an upload token."""
        answer = json.loads(self.reply("DescribeUploadToken").body)
        assert (answer["Code"], answer["Msg"]) == (200, "OK")
        data: dict[str, Any] = answer["Data"]
        return data

    def put(
        self, content: bytes, name: str = "1.png", *, prefix: str | None = None, hosted: bool = False, **changed: str
    ) -> Reply:
        """Upload; `changed` headers are not signed anew."""
        key = f"{self.token['FileNamePrefix'] if prefix is None else prefix}{name}"
        digest = base64.b64encode(hashlib.md5(content).digest()).decode()
        date = formatdate(self.clock.now(), usegmt=True)
        token = self.token["SecurityToken"]
        to_sign = f"PUT\n{digest}\nimage/png\n{date}\nx-oss-security-token:{token}\n/{BUCKET}/{key}"
        secret = self.token["AccessKeySecret"].encode()
        signature = base64.b64encode(hmac.new(secret, to_sign.encode(), "sha1").digest()).decode()
        headers = {
            "host": f"{BUCKET}.oss.example.com" if hosted else "127.0.0.1",
            "date": date,
            "content-type": "image/png",
            "content-md5": digest,
            "x-oss-security-token": token,
            "authorization": f"OSS {self.token['AccessKeyId']}:{signature}",
        } | {name.replace("_", "-"): value for name, value in changed.items()}
        return self.at(Request("PUT", f"/{key}" if hosted else f"/{BUCKET}/{key}", headers, content))

    def at(self, request: Request) -> Reply:
        """What object storage answers."""
        name = oss.object_name(request)
        assert name is not None
        return oss.serve(request, name, self.backend)

    def judge(self, name: str = "1.png", prefix: str | None = None, **parameters: Any) -> dict[str, Any]:
        """The verdict on an uploaded object."""
        key = f"{self.token['FileNamePrefix'] if prefix is None else prefix}{name}"
        return self.image(None, ossBucketName=self.token["BucketName"], ossObjectName=key, **parameters)


def test_a_token_has_what_an_upload_needs() -> None:
    """The token names temporary credentials, bucket, prefix, endpoints at the simulator itself, and its end."""
    uploads = Uploads()
    token = uploads.token
    assert token["AccessKeyId"].startswith("STS.")
    assert token["FileNamePrefix"].endswith("/")
    assert token["OssInternetEndPoint"] == token["OssInternalEndPoint"] == "http://127.0.0.1"
    assert token["Expiration"] == int(uploads.clock.now()) + 3600
    assert token["SecurityToken"] != uploads.new_token()["SecurityToken"]


def test_the_signature_is_that_of_the_documented_example(monkeypatch: pytest.MonkeyPatch) -> None:
    """The worked example of the page of OSS's header signature comes out to the letter."""
    monkeypatch.setattr(oss, "BUCKET", "oss-example")
    headers = {
        "content-md5": "ODBGOERFMDMzQTczRUY3NUE3NzA5QzdFNUYzMDQxNEM=",
        "content-type": "text/html",
        "date": "Thu, 17 Nov 2005 18:49:58 GMT",
        "x-oss-meta-author": "foo@bar.com",
        "x-oss-magic": "abracadabra",
    }
    signed = oss.signature("OtxrzxIsfpFjA7SwPzILwy8Bw21TLhquhboDYROV", "PUT", "nelson", headers)
    assert signed == "26NBxoKdsyly4EDv6inkoDft/yA="


@pytest.mark.parametrize("hosted", [False, True])
def test_what_was_uploaded_can_be_fetched_and_judged(hosted: bool) -> None:  # noqa: FBT001  # a parametrized style
    """An object put by path or by host is there, with its digest, and is judged by its name."""
    uploads = Uploads()
    content = PNG + b"pixels"
    reply = uploads.put(content, "violent_gun.png", hosted=hosted)
    assert (reply.status, reply.headers["ETag"]) == (200, f'"{hashlib.md5(content).hexdigest().upper()}"')
    key = f"{uploads.token['FileNamePrefix']}violent_gun.png"
    fetched = uploads.at(Request("GET", f"/{BUCKET}/{key}", {}, b""))
    assert (fetched.body, fetched.content_type) == (content, "image/png")
    answer = uploads.judge("violent_gun.png", dataId="i-1")
    assert answer["Data"]["Result"][0]["Label"] == "violent_gun"
    assert uploads.backend.stats.codes["PutObject"] == {"200": 1}
    assert uploads.backend.account.objects.to_dict() == {
        "tokens_issued": 1,
        "uploads": 1,
        "kept": 1,
        "kept_bytes": len(content),
    }


@pytest.mark.parametrize(
    ("content", "level", "labels"),
    [
        (PNG + b"..violent_explosion..", "high", ["violent_explosion"]),
        (b"\xff\xd8\xff\xe0 /medium/ violent_gun, sexual_kiss!", "medium", ["violent_gun", "sexual_kiss"]),
        (b"GIF89a plain", "none", ["nonLabel"]),
        (b"RIFF\0\0\0\0WEBPVP8 QRCode", "high", ["QRCode"]),
        (b"\0\0\0\x18ftypheic nonLabel_lib", "none", ["nonLabel_lib"]),
        (b"<svg><text>/low/ contraband_drug_tii</text></svg>", "low", ["contraband_drug_tii"]),
    ],
)
def test_labels_in_the_content_decide_too(content: bytes, level: str, labels: list[str]) -> None:
    """Bytes that spell a label or a level are the truth about an uploaded image, in any format of the image page."""
    uploads = Uploads()
    uploads.put(content)
    data = uploads.judge()["Data"]
    assert (data["RiskLevel"], [one["Label"] for one in data["Result"]]) == (level, labels)


def test_an_uploaded_image_may_be_judged_by_the_aigc_detector() -> None:
    """Content that says `aigc` is found by the AIGC detector."""
    uploads = Uploads()
    uploads.put(PNG + b" aigc ")
    assert uploads.judge(service="aigcDetector_global")["Data"]["Result"][0]["Label"] == "aigc"


@pytest.mark.parametrize(
    ("content", "code"), [(PNG + bytes(20 * 1024 * 1024), 406), (b"%PDF-1.7", 407), (b"", 407), (None, 404)]
)
def test_an_unusable_upload_is_free(content: bytes | None, code: int) -> None:
    """Above 20 MB is 406, of no known format 407, never uploaded 404; none is billed."""
    uploads = Uploads()
    if content is not None:
        assert uploads.put(content).status == 200
    assert uploads.judge()["Code"] == code
    assert uploads.backend.ledger.billed_calls == 0


def test_an_object_of_another_bucket_is_judged_by_its_name() -> None:
    """Buckets that the account authorized are not looked into."""
    answer = Uploads().image(None, ossBucketName="mine", ossObjectName="violent_gun.jpg")
    assert answer["Data"]["Result"][0]["Label"] == "violent_gun"


@pytest.mark.parametrize(
    ("how", "status", "code"),
    [
        ({"authorization": "OSS4-HMAC-SHA256 x"}, 403, "AccessDenied"),
        ({"authorization": "OSS STS.other:x"}, 403, "InvalidAccessKeyId"),
        ({"x_oss_security_token": "other"}, 403, "InvalidSecurityToken"),
        ({"content_type": "image/gif"}, 403, "SignatureDoesNotMatch"),
        ({"x_oss_meta_author": "me"}, 403, "SignatureDoesNotMatch"),
        ({"date": "Fri, 02 Jan 2026 02:04:05 GMT"}, 403, "RequestTimeTooSkewed"),
        ({"date": "now"}, 403, "AccessDenied"),
        ({"prefix": "elsewhere/"}, 403, "AccessDenied"),
        ({"name": ""}, 403, "AccessDenied"),
    ],
)
def test_a_badly_signed_upload_is_refused(how: dict[str, Any], status: int, code: str) -> None:
    """Each fault of an upload's signature has its word in OSS's XML, and nothing is kept."""
    uploads = Uploads()
    reply = uploads.put(PNG, **how)
    assert reply.status == status
    assert f"<Code>{code}</Code>".encode() in reply.body
    assert uploads.backend.account.objects.uploads == 0


def test_an_expired_token_is_refused() -> None:
    """A token is good until its expiration, also after another one was issued."""
    uploads = Uploads(upload_token_seconds=900)
    uploads.clock.seconds = 899
    assert uploads.put(PNG).status == 200
    uploads.clock.seconds = 900
    old = uploads.token
    uploads.token = uploads.new_token()
    assert uploads.put(PNG).status == 200
    uploads.token = old
    assert b"SecurityTokenExpired" in uploads.put(PNG).body


def test_a_damaged_upload_is_refused() -> None:
    """Content that is not the signed digest's is refused."""
    uploads = Uploads(verify=False)
    assert b"InvalidDigest" in uploads.put(PNG, content_md5="AAAAAAAAAAAAAAAAAAAAAA==").body


def test_only_uploads_change_anything() -> None:
    """What is not there is NoSuchKey; other methods are not allowed; a path beside the bucket is none of it."""
    uploads = Uploads()
    assert uploads.at(Request("GET", f"/{BUCKET}/x", {}, b"")).status == 404
    assert uploads.at(Request("DELETE", f"/{BUCKET}/x", {}, b"")).status == 405
    assert oss.object_name(Request("GET", "/ledger", {"host": "127.0.0.1"}, b"")) is None


def test_old_objects_make_way(monkeypatch: pytest.MonkeyPatch) -> None:
    """The bucket is bounded: the oldest objects are gone once too much was uploaded."""
    monkeypatch.setattr(objects, "_KEPT_BYTES", 64)
    uploads = Uploads()
    for number in range(4):
        uploads.put(PNG + bytes(11), f"{number}.png")
    assert [uploads.judge(f"{number}.png")["Code"] for number in range(4)] == [404, 200, 200, 200]


@pytest.mark.parametrize(
    ("fault", "way", "status", "kept"),
    [
        ("code=503", "whole", 503, 0),
        ("code=AccessDenied", "whole", 403, 0),
        ("http_500", "whole", 500, 0),
        ("reset", "reset", 200, 0),
        ("hang", "hang", 200, 0),
        ("reset_billed", "reset", 200, 1),
        ("slow", "whole", 200, 1),
    ],
)
def test_faults_befall_uploads(fault: str, way: str, status: int, kept: int) -> None:
    """An upload is operation PutObject to a fault: refused, unanswered, or kept and then unanswered."""
    uploads = Uploads()
    uploads.backend.faults.add(Fault.parse(f"{fault},count=1,operation=PutObject"))
    reply = uploads.put(PNG)
    assert (reply.way, reply.status) == (way, status)
    assert uploads.backend.account.objects.uploads == kept
    assert uploads.put(PNG).status == 200


def test_a_reset_forgets_uploads_and_tokens() -> None:
    """After a reset neither token nor object is known."""
    uploads = Uploads()
    uploads.put(PNG)
    uploads.backend.reset()
    assert uploads.judge()["Code"] == 404
    assert b"InvalidAccessKeyId" in uploads.put(PNG).body
