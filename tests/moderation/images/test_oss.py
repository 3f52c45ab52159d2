"""Objects are addressed and signed as object storage wants it."""

from __future__ import annotations

import base64
import hashlib
import hmac

import pytest

from consumer.moderation.images.oss import object_url, put_headers, signature
from consumer.moderation.protocol.signing import Credentials


def test_a_signature_of_the_storages_own_documentation() -> None:
    """The example in the documentation of the header signature comes out as it is there."""
    signed = signature(
        "OtxrzxIsfpFjA7SwPzILwy8Bw21TLhquhboDYROV",
        verb="PUT",
        content_md5="ODBGOERFMDMzQTczRUY3NUE3NzA5QzdFNUYzMDQxNEM=",
        content_type="text/html",
        date="Thu, 17 Nov 2005 18:49:58 GMT",
        headers={"x-oss-meta-author": "foo@bar.com", "x-oss-magic": "abracadabra"},
        resource="/oss-example/nelson",
    )
    assert signed == "26NBxoKdsyly4EDv6inkoDft/yA="


def test_the_headers_of_an_upload() -> None:
    """An upload carries its date, type, checksum and token, all of which the signature covers."""
    headers = put_headers(
        Credentials("id", "secret", "token"),
        bucket="b",
        name="up/世 界.png",
        content_type="image/png",
        content_md5="m==",
        epoch_seconds=1_767_323_045.9,
    )
    to_sign = "PUT\nm==\nimage/png\nFri, 02 Jan 2026 03:04:05 GMT\nx-oss-security-token:token\n/b/up/世 界.png"
    signed = base64.b64encode(hmac.digest(b"secret", to_sign.encode(), hashlib.sha1)).decode()
    assert headers == {
        "date": "Fri, 02 Jan 2026 03:04:05 GMT",
        "content-type": "image/png",
        "content-md5": "m==",
        "x-oss-security-token": "token",
        "authorization": f"OSS id:{signed}",
    }


def test_credentials_without_a_token() -> None:
    """Without a token there is no header for it."""
    headers = put_headers(
        Credentials("id", "secret"), bucket="b", name="o", content_type="t", content_md5="m", epoch_seconds=0
    )
    assert "x-oss-security-token" not in headers


@pytest.mark.parametrize(
    ("endpoint", "url"),
    [
        ("oss-cn-shanghai.aliyuncs.com", "https://b.oss-cn-shanghai.aliyuncs.com/up/a%20b%2B1.png"),
        ("https://oss-cn-shanghai.aliyuncs.com/", "https://b.oss-cn-shanghai.aliyuncs.com/up/a%20b%2B1.png"),
        (
            "http://oss-cn-shanghai-internal.aliyuncs.com",
            "http://b.oss-cn-shanghai-internal.aliyuncs.com/up/a%20b%2B1.png",
        ),
        ("http://127.0.0.1:8080", "http://127.0.0.1:8080/b/up/a%20b%2B1.png"),
        ("http://[::1]:80", "http://[::1]:80/b/up/a%20b%2B1.png"),
        ("http://localhost:1", "http://localhost:1/b/up/a%20b%2B1.png"),
    ],
)
def test_where_an_object_is(endpoint: str, url: str) -> None:
    """A bucket is part of the host's name, or of the path where a host has no names below it."""
    assert object_url(endpoint, "b", "up/a b+1.png") == url


@pytest.mark.parametrize("endpoint", ["", "ftp://h", "http://", "http://h/path", "http://[x"])
def test_what_is_no_endpoint(endpoint: str) -> None:
    """Anything else is refused before a request is made of it."""
    with pytest.raises(ValueError, match=r"no endpoint|Invalid IPv6"):
        object_url(endpoint, "b", "o")
