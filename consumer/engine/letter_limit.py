"""When dead letters are too many to be the records' fault: a count of them in a row, and of their share."""

from __future__ import annotations

from collections import deque


__all__ = ["LetterLimit"]


_IN_A_ROW = "dead_letters.max_in_a_row"
_MAPPING = "the mapping, the routes or what is written to the topics"
_TOPICS = "the settings of the topics that verdicts go to, such as max.message.bytes"


class LetterLimit:
    """Counts verdicts and dead letters in the order in which they happen; each of the two limits may be left out.

    Args:
        max_in_a_row: How many dead letters may follow one another.
        max_share: Which share of the last `share_of` events may be dead letters. Until so many events have been
            counted, those that are missing count as verdicts, so that the first events alone are no share.
        share_of: How many events the share is taken of.
    """

    def __init__(self, max_in_a_row: int | None, max_share: float | None, share_of: int) -> None:
        self._max_in_a_row = max_in_a_row
        self._max_share = max_share
        self._share_of = share_of
        self.refused_in_a_row = 0
        """How many verdicts the brokers have refused since they last took one."""
        self._in_a_row = 0
        self._last: deque[bool] = deque(maxlen=share_of if max_share is not None else 0)
        self._letters = 0
        self._why = ""

    @property
    def why(self) -> str:
        """Which limit the last `failed` would have exceeded, and what to do about it; empty where it exceeded none."""
        return self._why

    def passed(self) -> None:
        """Count a verdict."""
        self._why = ""
        self._in_a_row = 0
        if self._max_share is not None:
            self._count(letter=False)

    def failed(self) -> bool:
        """Count a dead letter, unless it exceeds a limit.

        Returns:
            True when a limit is exceeded. The dead letter must then not be written, and is not counted, so the answer
            stays the same until a verdict is counted.
        """
        if self._max_in_a_row is not None and self._in_a_row >= self._max_in_a_row:
            self._why = _words(f"the last {self._in_a_row} events all became dead letters", _MAPPING, _IN_A_ROW)
        else:
            self._why = self._share_exceeded(self._letters + 1 - self._leaving, _MAPPING)
        if self._why:
            return True
        self._in_a_row += 1
        if self._max_share is not None:
            self._count(letter=True)
        return False

    def taken(self) -> None:
        """Note that the brokers have taken a verdict: refused ones before it are in no row with those after it."""
        self.refused_in_a_row = 0

    def refused(self) -> bool:
        """Count a dead letter instead of a verdict that was counted, and that the brokers refuse; see `failed`."""
        if self._max_in_a_row is not None and self.refused_in_a_row >= self._max_in_a_row:
            fact = f"the brokers have refused the last {self.refused_in_a_row} verdicts, which became dead letters"
            self._why = _words(fact, _TOPICS, _IN_A_ROW)
        else:
            self._why = self._share_exceeded(self._letters + 1, _TOPICS)
        if self._why:
            return True
        self.refused_in_a_row += 1
        for at in range(len(self._last) - 1, -1, -1):
            if not self._last[at]:
                self._last[at] = True
                self._letters += 1
                break
        return False

    def _share_exceeded(self, letters: int, remedy: str) -> str:
        """Whether so many dead letters are too large a share, in words."""
        if self._max_share is None or letters / self._share_of <= self._max_share:
            return ""
        share = f"more than {self._max_share:.2%} of the last {self._share_of} events"
        return _words(f"{share} became dead letters", remedy, "dead_letters.max_share")

    @property
    def _leaving(self) -> bool:
        """Whether the next event pushes a dead letter out of those that the share is taken of."""
        return len(self._last) == self._share_of and self._last[0]

    def _count(self, *, letter: bool) -> None:
        self._letters += letter - self._leaving
        self._last.append(letter)


def _words(fact: str, remedy: str, setting: str) -> str:
    return (
        f"{fact}, and so would the next: that looks like a fault of the deployment, not of the records; see what is "
        f"wrong with them with `moderation-consumer dead-letters list`, then mend {remedy}, or raise {setting}, and "
        "start it anew"
    )
