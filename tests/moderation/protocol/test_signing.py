"""Signatures and encodings are those of the official SDK, to the byte."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, quote, urlencode

import pytest
from hypothesis import given
from hypothesis import strategies as st

from consumer.moderation.protocol.signing import (
    Credentials,
    Signer,
    authorization,
    canonical_query,
    form_body,
    percent_encode,
    timestamp,
)


FILE: dict[str, Any] = json.loads((Path(__file__).parents[1] / "data" / "signature_vectors.json").read_bytes())
VECTORS = [pytest.param(vector, id=f"{vector['action']}-{vector['credentials']}") for vector in FILE["vectors"]]


def credentials_of(vector: dict[str, Any]) -> Credentials:
    return Credentials(FILE["access_key_id"], FILE["access_key_secret"], vector["security_token"])


@pytest.mark.parametrize("vector", VECTORS)
def test_minimal_headers_are_signed_as_the_sdk_signs_them(vector: dict[str, Any]) -> None:
    """The headers we send, and the signature over them, equal those the official SDK makes."""
    headers = Signer(FILE["host"], credentials_of(vector)).sign(
        vector["action"],
        date=FILE["date"],
        nonce=FILE["nonce"],
        body=vector["body"].encode(),
        query=canonical_query(vector["query"]),
    )
    assert headers == {**vector["headers_minimal"], "authorization": vector["authorization_minimal"]}


@pytest.mark.parametrize("vector", VECTORS)
def test_all_headers_are_signed_as_the_sdk_signs_them(vector: dict[str, Any]) -> None:
    """A signature over all the headers that the official SDK sends equals the SDK's."""
    signed = authorization(vector["headers_all"], credentials_of(vector), query=canonical_query(vector["query"]))
    assert signed == vector["authorization_all"]


@pytest.mark.parametrize("vector", [one for one in VECTORS if "Async" not in str(one.id)])
def test_a_form_is_encoded_as_the_sdk_encodes_it(vector: dict[str, Any]) -> None:
    """Encoding the parameters of a vector's body gives that body again."""
    assert form_body(dict(parse_qsl(vector["body"]))) == vector["body"].encode()


def test_the_documentations_example() -> None:
    """The example on the vendor's signature page gives the signature printed there."""
    signer = Signer("ecs.cn-shanghai.aliyuncs.com", Credentials("YourAccessKeyId", "YourAccessKeySecret"))
    headers = signer.sign(
        "RunInstances",
        date="2023-10-26T10:22:32Z",
        nonce="3156853299f313e23d1673dc12e1703d",
    )
    del headers["authorization"]
    query = canonical_query(
        {"RegionId": "cn-shanghai", "ImageId": "win2019_1809_x64_dtc_zh-cn_40G_alibase_20230811.vhd"}
    )
    signed = authorization({**headers, "x-acs-version": "2014-05-26"}, signer.credentials, query=query)
    assert signed.endswith(",Signature=06563a9e1b43f5dfe96b81484da74bceab24a1d853912eee15083a6f0f3283c0")


@given(st.dictionaries(st.text("abcXYZ", min_size=1), st.text()))
def test_forms_and_queries_are_encoded_as_the_standard_library_does(parameters: dict[str, str]) -> None:
    """Any parameters are encoded as the SDK's own library encodes them: `+` in forms, `%20` in what is signed."""
    ordered = sorted(parameters.items())
    assert form_body(parameters).decode() == urlencode(ordered)
    assert canonical_query(parameters) == "&".join(f"{name}={quote(value, safe='~')}" for name, value in ordered)


def test_every_byte_is_escaped_in_upper_case() -> None:
    """Escapes are upper-case, and only letters, digits and four marks stand for themselves."""
    assert percent_encode("aZ09-_.~ */+ä世") == "aZ09-_.~%20%2A%2F%2B%C3%A4%E4%B8%96"


def test_dates_are_utc_in_whole_seconds() -> None:
    """The date header is UTC without fractions."""
    assert timestamp(1_767_323_045.9) == "2026-01-02T03:04:05Z"


@given(
    st.builds(Credentials, st.text(), st.text(max_size=100), st.none() | st.text()),
    st.text(),
    st.binary(),
    st.text("%sabc=&", max_size=9),
)
def test_what_is_prepared_signs_as_what_is_not(credentials: Credentials, host: str, body: bytes, query: str) -> None:
    """With any credentials, host, body and query a signer signs as `authorization` does, each time anew."""
    signer = Signer(host, credentials)
    for nonce in ("1", "2"):
        headers = signer.sign("Act%sion", date="2026-01-02T03:04:05Z", nonce=nonce, body=body, query=query)
        signed = headers.pop("authorization")
        assert signed == authorization(headers, credentials, query=query)


def test_printed_credentials_hide_their_secrets() -> None:
    """Neither the secret nor the token shows where credentials are printed."""
    shown = repr(Credentials("id", "very-secret", "very-token"))
    assert "id" in shown
    assert "very" not in shown


def test_values_are_trimmed_before_they_are_signed() -> None:
    """White space around a header's value does not change the signature, as the service trims it too."""
    credentials = Credentials("id", "secret")
    headers = {"host": "h", "x-acs-content-sha256": "00"}
    assert authorization({**headers, "host": " h "}, credentials) == authorization(headers, credentials)
