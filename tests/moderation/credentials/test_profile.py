"""Profiles of the vendor's command line."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any

import pytest

from consumer.errors import StartError
from consumer.moderation.credentials.lease import Lease
from consumer.moderation.credentials.profile import ProfileFile
from consumer.moderation.protocol.signing import Credentials


if TYPE_CHECKING:
    from pathlib import Path


__all__: list[str] = []


CONFIG = {
    "current": "default",
    "profiles": [
        {"name": "default", "mode": "AK", "access_key_id": "id", "access_key_secret": "secret", "region_id": "x"},
        {"name": "sts", "mode": "StsToken", "access_key_id": "i", "access_key_secret": "s", "sts_token": "t"},
        {"name": "half", "mode": "AK", "access_key_id": "id", "access_key_secret": ""},
        {"name": "role", "mode": "RamRoleArn", "access_key_id": "id", "access_key_secret": "secret"},
    ],
}


def fetch(folder: Path, content: Any, profile: str | None = None) -> Lease:
    file = folder / "config.json"
    file.write_text(content if isinstance(content, str) else json.dumps(content))
    return asyncio.run(ProfileFile(file, profile).fetch())


def test_the_current_profile(tmp_path: Path) -> None:
    """Without a name the file's current profile is taken; nobody says when it expires."""
    assert fetch(tmp_path, CONFIG) == Lease(Credentials("id", "secret"), None)


def test_a_named_profile_with_a_token(tmp_path: Path) -> None:
    """A profile of mode StsToken has a token beside its key."""
    assert fetch(tmp_path, CONFIG, "sts") == Lease(Credentials("i", "s", "t"), None)


@pytest.mark.parametrize(
    ("content", "profile", "said", "remedy"),
    [
        (CONFIG, "none", "has no profile none", "credentials.profile"),
        (CONFIG, "half", "is not complete", "access_key_secret"),
        (CONFIG, "role", "has the mode RamRoleArn", "AK or StsToken"),
        ("{", None, "holds no profiles", "aliyun configure"),
        ("[]", None, "holds no profiles", "aliyun configure"),
        ({"current": "a", "profiles": [1]}, None, "holds no profiles", "aliyun configure"),
    ],
)
def test_what_cannot_be_used_is_said(tmp_path: Path, content: Any, profile: str, said: str, remedy: str) -> None:
    """A profile that is missing, incomplete or of another mode is an error with a remedy, without its secret."""
    with pytest.raises(StartError, match=said) as caught:
        fetch(tmp_path, content, profile)
    assert remedy in caught.value.remedy


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    """A missing file is named."""
    with pytest.raises(StartError, match="no such file or directory"):
        asyncio.run(ProfileFile(tmp_path / "none.json").fetch())
