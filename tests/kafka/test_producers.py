"""How our producers choose a partition."""

from __future__ import annotations

from aiokafka.partitioner import DefaultPartitioner
from hypothesis import given
from hypothesis import strategies as st

from consumer.kafka.producers import Partitioner


CHOICE = Partitioner()


@given(st.binary(), st.lists(st.integers(0, 1000), min_size=1, max_size=50, unique=True).map(sorted))
def test_a_key_goes_where_every_client_puts_it(key: bytes, partitions: list[int]) -> None:
    """A remembered hash chooses the partition that Kafka's own choice is, the first time and again."""
    for _ in range(2):
        assert CHOICE(key, partitions, partitions) == DefaultPartitioner()(key, partitions, partitions)


def test_a_record_without_a_key_goes_where_it_can_be_written() -> None:
    """Without a key one of the partitions that have a leader is chosen."""
    assert {CHOICE(None, [0, 1, 2], [2]) for _ in range(20)} == {2}
