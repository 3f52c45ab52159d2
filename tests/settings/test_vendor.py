"""Which credentials a configuration means, and what the vendor's variables add to it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from consumer.settings import load_embedded


if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from consumer.settings import Loaded
    from consumer.settings.models import Credentials


__all__: list[str] = []


KEY = {"ALIBABA_CLOUD_ACCESS_KEY_ID": "id", "ALIBABA_CLOUD_ACCESS_KEY_SECRET": "secret"}
OIDC = {
    "ALIBABA_CLOUD_ROLE_ARN": "role",
    "ALIBABA_CLOUD_OIDC_PROVIDER_ARN": "provider",
    "ALIBABA_CLOUD_OIDC_TOKEN_FILE": "/var/run/token",
}
PROFILE = {"ALIBABA_CLOUD_PROFILE": "work", "HOME": "/home/me"}
INSTANCE = {"ALIBABA_CLOUD_ECS_METADATA": "moderator"}


def credentials(environ: dict[str, str], **own: str) -> Credentials:
    return load_embedded({"moderation": {"region": "cn-shanghai", "credentials": own}}, environ).moderation.credentials


def filled(found: Credentials) -> set[str]:
    return {name for name, value in found if value is not None} - {"provider"}


def test_the_variables_are_tried_in_the_vendor_s_order() -> None:
    """A key wins over a role, a role over a profile, a profile over the instance; nothing of the others is taken."""
    assert filled(credentials(KEY | OIDC | PROFILE | INSTANCE)) == {"access_key_id", "access_key_secret"}
    assert filled(credentials(OIDC | PROFILE | INSTANCE)) == {"role_arn", "oidc_provider_arn", "oidc_token_file"}
    assert filled(credentials(PROFILE | INSTANCE)) == {"profile", "profile_file"}
    assert filled(credentials(INSTANCE)) == {"instance_role"}


def test_what_is_configured_wins_over_the_variables() -> None:
    """A role of the instance in the configuration is meant, whatever the environment has."""
    assert filled(credentials(KEY | OIDC, instance_role="moderator")) == {"instance_role"}


def test_a_named_provider_takes_only_its_own_variables() -> None:
    """`provider: oidc` beside a key in the environment reads the role's variables and leaves the key."""
    found = credentials(KEY | OIDC, provider="oidc", role_arn="own-role")
    assert filled(found) == {"role_arn", "oidc_provider_arn", "oidc_token_file"}
    assert found.role_arn == "own-role"


def test_a_role_that_is_half_in_the_environment_is_none() -> None:
    """Two of the three variables of a role are as good as none: the next in the order is taken."""
    half = dict(list(OIDC.items())[:2])
    assert filled(credentials(half | INSTANCE)) == {"instance_role"}


def test_a_profile_file_at_its_usual_place_is_found(tmp_path: Path) -> None:
    """A file where the vendor's command line keeps it is enough, unless the vendor's variable forbids it."""
    file = tmp_path / ".aliyun" / "config.json"
    file.parent.mkdir()
    file.write_text("{}")
    home = {"HOME": str(tmp_path)}
    assert credentials(home).profile_file == str(file)
    assert filled(credentials(home | INSTANCE | {"ALIBABA_CLOUD_CLI_PROFILE_DISABLED": "true"})) == {"instance_role"}


@pytest.mark.parametrize(
    ("environ", "host"),
    [
        ({}, None),
        ({"ALIBABA_CLOUD_STS_REGION": "cn-beijing"}, "sts.cn-beijing.aliyuncs.com"),
        (
            {"ALIBABA_CLOUD_STS_REGION": "cn-beijing", "ALIBABA_CLOUD_VPC_ENDPOINT_ENABLED": "true"},
            "sts-vpc.cn-beijing.aliyuncs.com",
        ),
    ],
)
def test_the_region_of_the_sts_comes_with_the_role(environ: dict[str, str], host: str | None) -> None:
    """Where the cluster names the region of the STS, and its VPC, the role is assumed there."""
    assert credentials(OIDC | environ).sts_endpoint == host


def test_origins_name_the_variables(good: str, read: Callable[..., Loaded]) -> None:
    """`check --origins` shows from which variable a role came."""
    loaded = read(good.split("  credentials:", maxsplit=1)[0], OIDC)
    assert loaded.origin("moderation.credentials.role_arn") == "$ALIBABA_CLOUD_ROLE_ARN"


@pytest.mark.parametrize(
    ("own", "missing"),
    [
        ("{provider: oidc}", ["oidc_provider_arn", "oidc_token_file", "role_arn"]),
        ("{provider: oidc, role_arn: r, oidc_token_file:}", ["oidc_provider_arn", "oidc_token_file"]),
        ("{role_arn: r}", ["oidc_provider_arn", "oidc_token_file"]),
        ("{provider: static}", ["access_key_id", "access_key_secret"]),
        ("{provider: profile}", ["profile_file"]),
        ("{provider: magic}", ["provider"]),
        ("{provider: instance}", None),
    ],
)
def test_what_a_provider_needs_is_asked_for(
    good: str,
    problems: Callable[..., list[str]],
    read: Callable[..., Loaded],
    own: str,
    missing: list[str] | None,
) -> None:
    """Each key that the chosen provider cannot do without is a line of its own, and no key of another provider."""
    text = f"{good.split('  credentials:', maxsplit=1)[0]}  credentials: {own}\n"
    if missing is None:
        assert read(text).settings.moderation.credentials.provider == "instance"
        return
    lines = problems(text)
    assert sorted(line.split(": ")[1].rpartition(".")[2] for line in lines) == missing


def test_the_vendor_s_variable_is_named_where_it_would_help(good: str, problems: Callable[..., list[str]]) -> None:
    """A missing key of a role is told with both variables that would set it."""
    (line,) = problems(
        f"{good.split('  credentials:', maxsplit=1)[0]}  credentials: {{role_arn: r, oidc_token_file: f}}\n"
    )
    assert line.endswith(
        "moderation.credentials.oidc_provider_arn: required, but not set; "
        "$MODERATION__MODERATION__CREDENTIALS__OIDC_PROVIDER_ARN would set it; "
        "$ALIBABA_CLOUD_OIDC_PROVIDER_ARN would set it too"
    )


def test_an_sts_that_is_no_endpoint(good: str, problems: Callable[..., list[str]]) -> None:
    """A faulty endpoint of the STS is told with its line, and without the password that may be in it."""
    text = good.replace("  credentials:\n", "  credentials:\n    sts_endpoint: https://me:hunter2@sts\n")
    (line,) = problems(text)
    assert line == (
        "config.yaml:9:5: moderation.credentials.sts_endpoint: what stands there is no endpoint; "
        "expected a host or `http://host:port`"
    )
