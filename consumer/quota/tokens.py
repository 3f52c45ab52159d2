"""The account's limits as buckets of one process: handed out by the group, and replaced while the program runs."""

from __future__ import annotations

from typing import TYPE_CHECKING


if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from consumer.quota.bucket import Bucket


__all__ = ["Tokens"]


class Tokens:
    """Has the buckets hold this process's part of the limits.

    Where one process `works_alone` it has all tokens of the limits that it knows itself, so that no other replica need
    have heard of a change. Else it has as many as it was handed.

    A limit that grows does so a window later, and one that shrinks counts what was sent before: no window ever holds
    more sends than the limit that is in force in it.
    """

    def __init__(self, buckets: Iterable[tuple[str, Bucket]], limits: Mapping[str, int], *, works_alone: bool) -> None:
        self._buckets = dict(buckets)
        self._limits = dict(limits)
        self._works_alone = works_alone

    def hand_out(self, tokens: Mapping[str, int]) -> None:
        """Leave each bucket with this process's part of its tokens; one that is not named has none."""
        for name, bucket in self._buckets.items():
            part = tokens.get(name, 0)
            bucket.hand_out(self._limits[name] if part and self._works_alone else part)

    def replace(self, limits: Mapping[str, int]) -> None:
        """Use these limits from now on. Who stands by goes on having no tokens.

        Raises:
            RuntimeError: the tokens are handed out among several processes: one alone cannot change them.
        """
        if not self._works_alone:
            raise RuntimeError("limits that are handed out among processes change with a restart of all of them")
        self._limits = dict(limits)
        for name, bucket in self._buckets.items():
            if bucket.limit and bucket.limit != limits[name]:
                bucket.hand_out(limits[name])
