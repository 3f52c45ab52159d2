"""A role for a service account: what the STS is asked, where it is, and what its answers mean."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest

from consumer.errors import StartError
from consumer.moderation.credentials.lease import Lease
from consumer.moderation.credentials.oidc import OidcRole, sts_endpoint
from consumer.moderation.protocol.endpoints import Endpoint
from consumer.moderation.protocol.signing import Credentials
from consumer.settings.models import Moderation
from tests.moderation.credentials.places import Sts, serving
from tests.virtual_time import EPOCH, LoopClock


if TYPE_CHECKING:
    from pathlib import Path


__all__: list[str] = []


class Clock(LoopClock):
    def now(self) -> float:
        return EPOCH


def fetch(sts: Sts, token_file: Path) -> Lease:
    async def main() -> Lease:
        async with serving(sts) as url:
            role = OidcRole(Endpoint.parse(url), "acs:ram::1:role/r", "acs:ram::1:oidc-provider/p", token_file, Clock())
            return await role.fetch()

    return asyncio.run(main())


@pytest.fixture
def token(tmp_path: Path) -> Path:
    file = tmp_path / "token"
    file.write_text("a.service+account/token\n")
    return file


def test_a_token_is_changed_for_credentials(token: Path) -> None:
    """The request is what the STS wants of AssumeRoleWithOIDC: unsigned, and the token in the body, not in the URL."""
    sts = Sts()
    assert fetch(sts, token) == Lease(Credentials("STS.id", "sts-secret", "sts-token"), EPOCH + 3600)
    assert sts.query == {
        "Action": "AssumeRoleWithOIDC",
        "Format": "JSON",
        "Timestamp": "2026-01-02T03:04:05Z",
        "Version": "2015-04-01",
    }
    assert sts.form == {
        "DurationSeconds": "3600",
        "OIDCProviderArn": "acs:ram::1:oidc-provider/p",
        "OIDCToken": "a.service+account/token",
        "RoleArn": "acs:ram::1:role/r",
        "RoleSessionName": "moderation-consumer",
    }
    assert "authorization" not in sts.headers


def test_the_token_is_read_each_time(token: Path) -> None:
    """Kubernetes replaces the token in its file, so that the next request carries the new one."""
    sts = Sts()
    fetch(sts, token)
    token.write_text("the-next-token")
    fetch(sts, token)
    assert sts.form["OIDCToken"] == "the-next-token"


@pytest.mark.parametrize(
    ("status", "answer", "said"),
    [
        (400, {"Code": "AuthenticationFail.NoPermission", "Message": "m"}, "AuthenticationFail.NoPermission"),
        (503, b"<html>", "HTTP 503 in a form that cannot be read"),
        (200, {"RequestId": "R"}, "HTTP 200 in a form that cannot be read"),
        (200, {"Credentials": {"AccessKeyId": "i"}}, "HTTP 200 in a form that cannot be read"),
        (200, b"[1]", "HTTP 200 in a form that cannot be read"),
    ],
)
def test_a_refusal_is_said_without_the_token(token: Path, status: int, answer: Any, said: str) -> None:
    """What the STS says instead of credentials is an error with a remedy, and the token is in no part of it."""
    with pytest.raises(StartError, match=said) as caught:
        fetch(Sts(status, answer), token)
    assert "trust policy" in caught.value.remedy
    assert "service+account" not in f"{caught.value}{caught.value.remedy}"


@pytest.mark.parametrize(("content", "said"), [(None, "FileNotFoundError"), (b"", "is empty"), (b"\xff", "Unicode")])
def test_a_token_that_is_not_there(tmp_path: Path, content: bytes | None, said: str) -> None:
    """A missing, empty or spoilt token file is an error that names the file and the setting."""
    file = tmp_path / "token"
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(StartError, match=said) as caught:
        fetch(Sts(), file)
    assert str(file) in str(caught.value)
    assert "oidc_token_file" in caught.value.remedy


def test_an_sts_that_cannot_be_reached(token: Path) -> None:
    """Where nothing listens, the remedy names the network and the setting."""

    async def main() -> None:
        async with serving(Sts()) as url:
            pass
        await OidcRole(Endpoint.parse(url), "r", "p", token, Clock()).fetch()

    with pytest.raises(StartError, match="does not answer") as caught:
        asyncio.run(main())
    assert "sts_endpoint" in caught.value.remedy


@pytest.mark.parametrize(
    ("settings", "host"),
    [
        ({"region": "cn-shanghai"}, "sts.cn-shanghai.aliyuncs.com"),
        ({"region": "cn-shanghai", "network": "vpc"}, "sts-vpc.cn-shanghai.aliyuncs.com"),
        ({"endpoint": "green-cip.ap-southeast-1.aliyuncs.com"}, "sts.ap-southeast-1.aliyuncs.com"),
        ({"endpoint": "http://proxy:8080"}, "sts.aliyuncs.com"),
        ({"region": "cn-shanghai", "credentials": {"sts_endpoint": "sts.example"}}, "sts.example"),
    ],
)
def test_where_the_sts_is(settings: dict[str, Any], host: str) -> None:
    """The STS of the service's region and network is asked, unless another one is configured."""
    assert sts_endpoint(Moderation.model_validate(settings)) == Endpoint("https", host)
