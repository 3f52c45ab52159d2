"""Secrets: from files and from the vendor's variables, and never shown."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from consumer.errors import SettingsError
from consumer.settings import load, values


if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from consumer.settings import Loaded


__all__: list[str] = []


_PLANTED = "hunter2-hunter2"
_FILE_VARIABLE = "MODERATION__MODERATION__CREDENTIALS__ACCESS_KEY_SECRET_FILE"
_VENDOR = {"ALIBABA_CLOUD_ACCESS_KEY_ID": "vendor-id", "ALIBABA_CLOUD_ACCESS_KEY_SECRET": "vendor-secret"}
_OWN = "  credentials:\n    access_key_id: LTAI-example\n    access_key_secret: planted-secret\n"


def _secret(loaded: Loaded) -> str:
    secret = loaded.settings.moderation.credentials.access_key_secret
    assert secret is not None
    return secret.get_secret_value()


def test_a_secret_from_a_file_named_in_yaml(good: str, read: Callable[..., Loaded], tmp_path: Path) -> None:
    """`access_key_secret_file` names a file; its content without the last line end is the secret."""
    file = tmp_path / "secret"
    file.write_text(f"{_PLANTED}\n")
    loaded = read(good.replace("access_key_secret: planted-secret", f"access_key_secret_file: {file}"))
    assert _secret(loaded) == _PLANTED
    assert loaded.origin("moderation.credentials.access_key_secret") == f"file {file} named by config.yaml:10:5"


def test_a_secret_from_a_file_named_by_a_variable(good: str, read: Callable[..., Loaded], tmp_path: Path) -> None:
    """A variable that ends in _FILE does the same, and wins over a secret in YAML."""
    file = tmp_path / "secret"
    file.write_bytes(_PLANTED.encode() + b"\r\n")
    loaded = read(good, {_FILE_VARIABLE: str(file)})
    assert _secret(loaded) == _PLANTED
    assert loaded.origin("moderation.credentials.access_key_secret") == f"file {file} named by ${_FILE_VARIABLE}"


def test_a_variable_wins_over_a_file_named_in_yaml(good: str, read: Callable[..., Loaded]) -> None:
    """Where a variable gives the secret itself, the file that YAML names is not even opened."""
    text = good.replace("access_key_secret: planted-secret", "access_key_secret_file: /nowhere/secret")
    loaded = read(text, {"MODERATION__MODERATION__CREDENTIALS__ACCESS_KEY_SECRET": _PLANTED})
    assert _secret(loaded) == _PLANTED


def test_a_secret_and_its_file_contradict_each_other(good: str, problems: Callable[..., list[str]]) -> None:
    """A secret and the name of its file in one source are one too many."""
    assert problems(f"{good}    access_key_secret_file: /run/secrets/x\n") == [
        (
            "config.yaml:11:5: moderation.credentials.access_key_secret_file: contradicts access_key_secret, "
            "set by config.yaml:10:5; keep one"
        )
    ]
    both = {_FILE_VARIABLE: "/run/secrets/x", _FILE_VARIABLE.removesuffix("_FILE"): _PLANTED}
    assert problems(good, both) == [
        (
            f"${_FILE_VARIABLE}: moderation.credentials.access_key_secret_file: contradicts access_key_secret, "
            f"set by ${_FILE_VARIABLE.removesuffix('_FILE')}; keep one"
        )
    ]


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (None, "cannot be read: no such file or directory"),
        (b"", "is empty"),
        (b"\n", "is empty"),
        (b"\xff\xfe", "is not a text in UTF-8"),
        (b"x" * 70_000, "is too large for a secret (over 64 KiB)"),
    ],
)
def test_an_unusable_file_is_told(
    good: str, problems: Callable[..., list[str]], tmp_path: Path, content: bytes | None, said: str
) -> None:
    """A missing, empty, binary or huge file is one line that names it and what named it."""
    file = tmp_path / "secret"
    if content is not None:
        file.write_bytes(content)
    assert problems(good, {_FILE_VARIABLE: str(file)}) == [
        f"${_FILE_VARIABLE}: moderation.credentials.access_key_secret_file: {file} {said}"
    ]


def test_a_secret_where_a_file_belongs_is_not_repeated(good: str, problems: Callable[..., list[str]]) -> None:
    """Who puts the secret itself into the _FILE variable does not find it in the log."""
    (line,) = problems(good, {_FILE_VARIABLE: _PLANTED})
    assert line.endswith("access_key_secret_file: the file named here cannot be read: no such file or directory")


def test_the_vendor_s_variables_fill_the_credentials(good: str, read: Callable[..., Loaded]) -> None:
    """Without credentials of ours the vendor's variables are read, the STS token among them."""
    text = good.replace(_OWN, "")
    loaded = read(text, {**_VENDOR, "ALIBABA_CLOUD_SECURITY_TOKEN": "vendor-token"})
    credentials = loaded.settings.moderation.credentials
    assert credentials.access_key_id == "vendor-id"
    assert credentials.security_token is not None
    assert credentials.security_token.get_secret_value() == "vendor-token"
    assert loaded.origin("moderation.credentials.access_key_id") == "$ALIBABA_CLOUD_ACCESS_KEY_ID"


def test_the_vendor_s_variables_fill_credentials_without_a_value(good: str, read: Callable[..., Loaded]) -> None:
    """A section whose lines are all commented out, or an id without a value, leaves room for them."""
    for left in ("  credentials:\n", "  credentials:\n    access_key_id:\n"):
        assert _secret(read(good.replace(_OWN, left), _VENDOR)) == "vendor-secret"


def test_the_vendor_s_token_does_not_join_another_key(good: str, read: Callable[..., Loaded]) -> None:
    """An STS token in the vendor's variables belongs to the key there, not to one configured by us."""
    credentials = read(
        good, {**_VENDOR, "ALIBABA_CLOUD_SECURITY_TOKEN": "vendor-token"}
    ).settings.moderation.credentials
    assert (credentials.access_key_id, credentials.security_token) == ("LTAI-example", None)


def test_the_vendor_s_token_alone_is_nothing(good: str, problems: Callable[..., list[str]]) -> None:
    """A token without its key fills nothing, and the key is asked for."""
    keys = [line.split(": ")[1] for line in problems(good.replace(_OWN, ""), {"ALIBABA_CLOUD_SECURITY_TOKEN": "t"})]
    assert keys == ["moderation.credentials.access_key_id", "moderation.credentials.access_key_secret"]


def test_half_a_key_is_not_completed_by_the_vendor_s_variables(good: str, problems: Callable[..., list[str]]) -> None:
    """An id of ours and a secret of the vendor's variables would never match: the line says so."""
    (line,) = problems(good.replace("    access_key_secret: planted-secret\n", ""), _VENDOR)
    assert line == (
        "config.yaml:8:3: moderation.credentials.access_key_secret: required, but not set; "
        f"${_FILE_VARIABLE.removesuffix('_FILE')} or ${_FILE_VARIABLE} would set it; "
        "$ALIBABA_CLOUD_ACCESS_KEY_SECRET is not read beside access_key_id from config.yaml:9:5"
    )


def test_secrets_are_hidden_among_the_values(good: str, read: Callable[..., Loaded]) -> None:
    """Status pages show that a secret is set and where it comes from, never what it is."""
    text = good.replace("planted-secret", _PLANTED).replace(
        "  start:", f"  security: {{protocol: SASL_SSL, sasl_username: me, sasl_password: {_PLANTED}}}\n  start:"
    )
    loaded = read(text, {"MODERATION__MODERATION__CREDENTIALS__SECURITY_TOKEN": _PLANTED})
    shown = {value.key: value.shown for value in values(loaded)}
    assert shown["kafka.security.sasl_password"] == "(secret)"
    assert shown["moderation.credentials.access_key_secret"] == "(secret)"
    assert _PLANTED not in f"{shown}{loaded.origins}{loaded}"


@pytest.mark.parametrize(
    "spoilt",
    [
        f"access_key_secrte: {_PLANTED}",
        f"access_key_secret: [{_PLANTED}]",
        f"access_key_secret: {{{_PLANTED}: 1}}",
        f"access_key_secret: !{_PLANTED} x",
        f"access_key_secret: *{_PLANTED}",
        f"access_key_secret: '{_PLANTED}",
        f"access_key_secret_file: {_PLANTED}",
        f"access_key_secret:{_PLANTED}: x",
        f"access_key_secret={_PLANTED}: x",
        f"access_key_secret: {_PLANTED}\n    access_key_secret: {_PLANTED}",
        f"access_key_secret: {_PLANTED}\n    security_token: [{_PLANTED}]",
        f"access_key_secret: {_PLANTED}\n    access_key_id: [{_PLANTED}]",
        f"access_key_secret: {_PLANTED}\npolicy: {{high: {_PLANTED}}}",
        f"access_key_secret: {_PLANTED}\npolicy: {_PLANTED}",
    ],
)
def test_a_planted_secret_is_in_no_problem(good: str, problems: Callable[..., list[str]], spoilt: str) -> None:
    """However a secret is misplaced or misspelt, no line repeats it."""
    lines = problems(good.replace("access_key_secret: planted-secret", spoilt))
    assert lines
    assert _PLANTED not in "\n".join(lines)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(secret=st.integers(min_value=10**11, max_value=10**12).map(str), key=st.sampled_from(["quoted", "number"]))
def test_a_secret_that_looks_like_a_number_is_in_no_problem(tmp_path: Path, secret: str, key: str) -> None:
    """A secret that YAML takes for a number is refused without being repeated, in whatever other key it stands too."""
    written = secret if key == "number" else f"'{secret}'"
    file = tmp_path / "config.yaml"
    file.write_text(
        f"moderation: {{credentials: {{access_key_id: a, access_key_secret: {written}}}}}\n"
        f"quota: {{text_per_second: -{secret}}}\npolicy: {{low: '{secret}'}}\n"
    )
    with pytest.raises(SettingsError) as caught:
        load([file], {})
    assert secret not in "\n".join(caught.value.problems)
