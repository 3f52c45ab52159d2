"""Tests of where records are kept for an estimate."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from consumer.estimate.corpus import Corpus
from consumer.record import Partition, Record


RECORDS = st.lists(
    st.builds(
        Record,
        st.builds(Partition, st.sampled_from("ab"), st.integers(0, 3)),
        st.integers(0, 2**60),
        st.integers(-1, 2**45),
        st.none() | st.binary(max_size=20),
        st.none() | st.binary(max_size=50),
    ),
    max_size=30,
)


@given(RECORDS)
def test_what_is_added_is_read_again(records: list[Record]) -> None:
    """Keys, values, timestamps and places come back, null and empty ones included, each partition in its order."""
    with Corpus() as corpus:
        for record in records:
            corpus.add(record)
        corpus.close()
        assert len(corpus) == len(records)
        lanes = corpus.lanes(0, len(records))
        for number, record in enumerate(records):
            read = corpus.read(number, 7)
            assert (read.partition, read.timestamp, read.key, read.value) == (
                record.partition,
                record.timestamp,
                record.key,
                record.value,
            )
            assert (read.offset, read.number) == (7, number)
            assert corpus.place(number) == (record.partition, record.offset)
        for partition, numbers in lanes.items():
            assert list(numbers) == [at for at, record in enumerate(records) if record.partition == partition]


@given(RECORDS)
def test_sorting_is_by_time_and_keeps_the_order_of_one_moment(records: list[Record]) -> None:
    """Sorted records come by their timestamps, those of one moment as they were added, and nothing is mixed up."""
    with Corpus() as corpus:
        for record in records:
            corpus.add(record)
        corpus.close()
        corpus.sort()
        expected = sorted(records, key=lambda record: record.timestamp)
        found = [corpus.read(number, 0) for number in range(len(records))]
        assert [(one.timestamp, one.value) for one in found] == [(one.timestamp, one.value) for one in expected]
        if records:
            times = [record.timestamp for record in records]
            assert corpus.times(0, len(records)) == (min(times), max(times))
