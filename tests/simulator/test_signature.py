"""The judge of signatures accepts what the official SDK signs, and nothing that was changed since."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest
from hypothesis import given
from hypothesis import strategies as st

from consumer.simulator.signature import Nonces, canonical_query, check


FILE: dict[str, Any] = json.loads(
    (Path(__file__).parents[1] / "moderation" / "data" / "signature_vectors.json").read_bytes()
)
NOW = 1_767_323_045.0  # 2026-01-02T03:04:05Z, when the vectors were signed
VECTORS = [
    pytest.param(vector, which, id=f"{vector['action']}-{vector['credentials']}-{which}")
    for vector in FILE["vectors"]
    for which in ("all", "minimal")
]


def judged(vector: dict[str, Any], which: str, **changed: Any) -> str | None:
    """The code that the judge refuses a vector with, or None."""
    target = "/?" + urlencode(vector["query"]) if vector["query"] else "/"
    headers = {**vector[f"headers_{which}"], "authorization": vector[f"authorization_{which}"]}
    headers.update(changed.pop("headers", {}))
    how = {"target": target, "body": vector["body"].encode(), "now": NOW, **changed}
    refusal = check(
        how["target"],
        headers,
        how["body"],
        access_key_id=FILE["access_key_id"],
        access_key_secret=FILE["access_key_secret"],
        security_token=vector["security_token"],
        now=how["now"],
    )
    return refusal.code if refusal else None


@pytest.mark.parametrize(("vector", "which"), VECTORS)
def test_what_the_official_sdk_signed_is_accepted(vector: dict[str, Any], which: str) -> None:
    """Signatures made by the official SDK are valid, over all of its headers or only those that must be signed."""
    assert judged(vector, which) is None


@pytest.mark.parametrize(("vector", "which"), VECTORS)
def test_a_tampered_request_is_refused(vector: dict[str, Any], which: str) -> None:
    """One more byte in the body or in the query breaks the signature."""
    assert judged(vector, which, target="/?Service=other") == "SignatureDoesNotMatch"
    assert judged(vector, which, headers={"x-acs-action": "Other"}) == "SignatureDoesNotMatch"
    tampered = {"body": vector["body"].encode() + b"x", "headers": {"content-type": "text/plain"}}
    assert judged(vector, which, **tampered) in {"SignatureDoesNotMatch", "IncompleteSignature"}


@pytest.mark.parametrize(("seconds", "code"), [(900, None), (901, "InvalidTimeStamp.Expired")])
def test_a_date_may_be_a_quarter_of_an_hour_off(seconds: int, code: str | None) -> None:
    """A date 15 minutes old or ahead is accepted, a second more is not."""
    vector = FILE["vectors"][0]
    assert judged(vector, "all", now=NOW + seconds) == code
    assert judged(vector, "all", now=NOW - seconds) == code


@pytest.mark.parametrize(
    ("written", "signed"),
    [
        ("Service=a&ReqId=b", "ReqId=b&Service=a"),
        ("a=x+y~%2A%2f", "a=x%20y~%2A%2F"),
        ("a=x%20y~*/", "a=x%20y~%2A%2F"),
        ("a=%7B%22u%22:+%22https://x.y/?z%3D1%22%7D", "a=%7B%22u%22%3A%20%22https%3A%2F%2Fx.y%2F%3Fz%3D1%22%7D"),
        ("a=%E4%B8%96&b=", "a=%E4%B8%96&b="),
        ("", ""),
    ],
)
def test_a_query_is_signed_alike_however_it_is_written(written: str, signed: str) -> None:
    """The synchronous SDK, the asynchronous one and a byte-exact client write a query differently and sign the same."""
    assert canonical_query(written) == signed


@given(st.dictionaries(st.text("abcXYZ", min_size=1), st.text()))
def test_encoding_twice_changes_nothing(parameters: dict[str, str]) -> None:
    """A canonical query is its own canonical form."""
    once = canonical_query(urlencode(parameters))
    assert canonical_query(once) == once


def test_a_nonce_is_good_once_and_remembered_long_enough() -> None:
    """A nonce is refused for at least half an hour after its use, and forgotten in the end."""
    nonces = Nonces()
    assert nonces.use("a", 0.0)
    assert nonces.use("b", 1799.0)
    assert not nonces.use("a", 1799.0)
    assert nonces.use("c", 1801.0)
    assert not nonces.use("b", 1799.0 + 1800.0)
    assert nonces.use("a", 9000.0)
    assert len(nonces) == 1


@given(st.lists(st.floats(0, 1000), max_size=200))
def test_nonces_take_bounded_memory(gaps: list[float]) -> None:
    """However fast nonces come, no more than two generations are kept."""
    nonces = Nonces(keep_seconds=100, limit=5)
    now = 0.0
    for number, gap in enumerate(gaps):
        now += gap
        assert nonces.use(str(number), now)
        assert len(nonces) <= 10
