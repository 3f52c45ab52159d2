"""Tests of where callbacks go and how they are signed."""

from __future__ import annotations

import re

from hypothesis import given
from hypothesis import strategies as st

from consumer.moderation.tasks.seeds import CallbackAddresses, callback_path, checksum, is_authentic, place_in, seed
from consumer.moderation.tasks.task import Place


# The reference's worked example of the scheme.
ACCOUNT, SEED = "1234567890123456", "abc_123"
CONTENT = b'{"RequestId":"R","Code":200,"Msg":"OK","Data":{"ReqId":"AAAAA-BBBBB","DataId":"mm-1","RiskLevel":"none"}}'
CHECKSUM = "53a1fa5aed4f29c8eec94681ed30cd41a9da3c9b0118e2cd5030450d57960b39"

TOPICS = st.text("abcXYZ019._-", min_size=1, max_size=249)
PLACES = st.builds(Place, TOPICS, st.integers(0, 2**31 - 1), st.integers(0, 2**63 - 1))
SECRET = b"a secret of the test"


def test_the_checksum_is_that_of_the_worked_example() -> None:
    """SHA-256 over account id, seed and content gives the checksum of the documented example."""
    assert checksum(ACCOUNT, SEED, CONTENT) == CHECKSUM


def test_a_checksum_counts_in_any_letter_case() -> None:
    """The service may write the hex digits large or small."""
    for given_checksum in (CHECKSUM, CHECKSUM.upper()):
        assert is_authentic(given_checksum.encode(), account_id=ACCOUNT, seed=SEED, content=CONTENT)


@given(st.binary(max_size=80))
def test_nothing_else_is_authentic(given_checksum: bytes) -> None:
    """Bytes that are not the checksum are refused, whatever they are."""
    assert not is_authentic(given_checksum, account_id=ACCOUNT, seed=SEED, content=CONTENT)


@given(PLACES)
def test_a_seed_is_one_the_service_takes(place: Place) -> None:
    """A seed has at most 64 letters, digits or underscores."""
    assert re.fullmatch(r"[A-Za-z0-9_]{1,64}", seed(SECRET, place))


@given(PLACES, PLACES)
def test_each_event_has_a_seed_of_its_own(one: Place, other: Place) -> None:
    """Two events have the same seed only if they are the same; with another secret each has another."""
    assert (seed(SECRET, one) == seed(SECRET, other)) == (one == other)
    assert seed(SECRET, one) != seed(b"another secret", one)


@given(PLACES, st.sampled_from(["/", "/moderation/", "/a/b/", "/7/8/"]))
def test_a_path_names_its_event_whatever_a_proxy_puts_before_it(place: Place, prefix: str) -> None:
    """The event is found in the path, under any prefix."""
    assert place_in(prefix + callback_path(place)) == place


def test_other_paths_name_no_event() -> None:
    """What is not topic, partition and offset at the path's end is no callback address."""
    for path in (
        "/",
        "/moderation",
        "/ugc/0",
        "/ugc/0/",
        "/ugc/0/5/",
        "/ugc/x/5",
        "/ugc/0/-5",
        "/ugc/0/٥",
        "/u%20c/0/5",
    ):
        assert place_in(path) is None


def test_an_address_is_the_url_with_the_event_behind_it() -> None:
    """The address the service is given stands under the configured URL, with the seed of that very event."""
    place = Place("ugc.posts", 3, 4711)
    for url in ("https://callbacks.example.com/moderation", "https://callbacks.example.com/moderation/"):
        address = CallbackAddresses(url, SECRET.decode()).of(place)
        assert address.url == "https://callbacks.example.com/moderation/ugc.posts/3/4711"
        assert address.seed == seed(SECRET, place)
        assert address.parameters() == {"callback": address.url, "seed": address.seed}
