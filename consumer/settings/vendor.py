"""The vendor's own environment variables → credentials: what they add, and what a configuration still needs."""

from __future__ import annotations

from pathlib import Path as FilePath
from types import MappingProxyType
from typing import TYPE_CHECKING, NamedTuple

from consumer.settings.nodes import DEFAULT, Node, Path, Place, put


if TYPE_CHECKING:
    from collections.abc import Mapping
    from collections.abc import Set as AbstractSet


__all__ = ["KEYS", "Needs", "provider_of", "vendor_credentials"]


KEYS: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "static": ("access_key_id", "access_key_secret", "security_token"),
        "oidc": ("role_arn", "oidc_provider_arn", "oidc_token_file", "sts_endpoint"),
        "profile": ("profile_file", "profile"),
        "instance": ("instance_role",),
    }
)
"""The keys of each provider, in the order in which `auto` tries them: that of the vendor's own libraries."""

_NEEDED = MappingProxyType(
    {
        "static": ("access_key_id", "access_key_secret"),
        "oidc": ("role_arn", "oidc_provider_arn", "oidc_token_file"),
        "profile": ("profile_file",),
        "instance": (),
    }
)
_CREDENTIALS: Path = ("moderation", "credentials")
# As the vendor's own libraries read them.
_VARIABLES = MappingProxyType(
    {
        "access_key_id": "ALIBABA_CLOUD_ACCESS_KEY_ID",
        "access_key_secret": "ALIBABA_CLOUD_ACCESS_KEY_SECRET",
        "security_token": "ALIBABA_CLOUD_SECURITY_TOKEN",
        "role_arn": "ALIBABA_CLOUD_ROLE_ARN",
        "oidc_provider_arn": "ALIBABA_CLOUD_OIDC_PROVIDER_ARN",
        "oidc_token_file": "ALIBABA_CLOUD_OIDC_TOKEN_FILE",
        "profile": "ALIBABA_CLOUD_PROFILE",
        "instance_role": "ALIBABA_CLOUD_ECS_METADATA",
    }
)
_STS_REGION = "ALIBABA_CLOUD_STS_REGION"
_STS_VPC = "ALIBABA_CLOUD_VPC_ENDPOINT_ENABLED"
_NO_PROFILE = "ALIBABA_CLOUD_CLI_PROFILE_DISABLED"
_NO_INSTANCE = "ALIBABA_CLOUD_ECS_METADATA_DISABLED"


class Needs(NamedTuple):
    """The keys that the chosen provider cannot do without, and what to say of the vendor's variable for each."""

    required: frozenset[Path] = frozenset()
    hints: Mapping[Path, str] = MappingProxyType({})


def provider_of(given: AbstractSet[str]) -> str | None:
    """The provider that `auto` means where these keys are set; None where they belong to none."""
    return next((name for name, keys in KEYS.items() if not given.isdisjoint(keys)), None)


def vendor_credentials(root: Node, environ: Mapping[str, str]) -> Needs:
    """Fill the credentials from the vendor's variables where the configuration leaves room for them.

    An AccessKey, its secret and its token belong together, so they are never taken from two sources.
    """
    given = _given(root)
    if given is None:
        return Needs()
    found = _found(environ)
    provider = given["provider"].value if "provider" in given else "auto"
    if provider == "auto":
        provider = provider_of(given.keys()) or _first(found, environ)
    if not isinstance(provider, str) or provider not in KEYS:
        return Needs()
    required = frozenset((*_CREDENTIALS, key) for key in _NEEDED[provider])
    own = sorted(given.keys() & KEYS["static"])
    if provider == "static" and own:
        beside = f"is not read beside {own[0]} from {given[own[0]].place}"
        read = found.keys() & KEYS["static"]
        return Needs(required, {(*_CREDENTIALS, key): f"{found[key].place} {beside}" for key in read})
    if provider != "static" or _half(found):
        for key in KEYS[provider]:
            if key in found and key not in given:
                put(root, (*_CREDENTIALS, key), found[key])
    return Needs(required, {(*_CREDENTIALS, key): f"${name} would set it too" for key, name in _VARIABLES.items()})


def _first(found: Mapping[str, Node], environ: Mapping[str, str]) -> str:
    """The first provider for which the environment has all that the vendor's libraries look for."""
    if _half(found):
        return "static"
    if all(key in found for key in _NEEDED["oidc"]):
        return "oidc"
    file = found.get("profile_file")
    if not _true(environ, _NO_PROFILE) and ("profile" in found or (file and FilePath(file.value).is_file())):
        return "profile"
    return "instance" if "instance_role" in found and not _true(environ, _NO_INSTANCE) else "static"


def _half(found: Mapping[str, Node]) -> bool:
    """Whether there is an AccessKey, or half of one, which is then told to be so."""
    return "access_key_id" in found or "access_key_secret" in found


def _found(environ: Mapping[str, str]) -> dict[str, Node]:
    """What the vendor's variables give, and where its command line keeps its profiles."""
    found = {key: Node(Place(f"${name}"), environ[name]) for key, name in _VARIABLES.items() if environ.get(name)}
    if region := environ.get(_STS_REGION):
        product = "sts-vpc" if _true(environ, _STS_VPC) else "sts"
        found["sts_endpoint"] = Node(Place(f"${_STS_REGION}"), f"{product}.{region}.aliyuncs.com")
    if home := environ.get("HOME"):
        found["profile_file"] = Node(DEFAULT, str(FilePath(home, ".aliyun", "config.json")))
    return found


def _given(root: Node) -> dict[str, Node] | None:
    """What is configured of the credentials, or None where something else stands in their place."""
    here = root
    for name in map(str, _CREDENTIALS):
        if not isinstance(here.value, dict):
            return None if here.value is not None else {}
        if name not in here.value:
            return {}
        here = here.value[name]
    if here.value is None:
        return {}
    if not isinstance(here.value, dict):
        return None
    return {name: node for name, node in here.value.items() if node.value is not None}


def _true(environ: Mapping[str, str], name: str) -> bool:
    return environ.get(name, "").lower() == "true"
