"""What an audit looks things up in: outcomes by input, calls by event, when each input was committed."""

from __future__ import annotations

import math
from bisect import bisect_left, bisect_right
from collections import defaultdict
from typing import TYPE_CHECKING


if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from chaos.history import Call, Commit, Happening, History, Input, Outcome, Place


__all__ = ["PLANNED", "UNPLANNED", "Books", "Life"]


UNPLANNED = frozenset({"kill", "freeze"})
"""What befalls a process without its knowing."""
PLANNED = frozenset({"stop", "join"})
"""What moves partitions while all is well."""
Life = tuple[str, int]
"""One process of a member: its name, and which of its processes it was, from 0."""

# A call that is made at the very end of a process may reach the service a moment later.
_TRANSIT_SECONDS = 0.5
# After a fault a rebalance may take a while: the session has to run out, and members to join anew.
_AFTERMATH_SECONDS = 15.0
# A connection that works again, or a broker that is back, is noticed by then.
_RECOVERY_SECONDS = 4.0


class Books:
    """A history, indexed.

    Attributes:
        by_place: inputs by their place.
        by_tag: inputs by the word in their content.
        outcomes: outcomes of each input, in the order in which they were written.
        billed: billed calls of each event, by tag, in the order in which they were made.
        committed_at: when each input was first committed as done.
        taken_back: commits by which something done was not done any more, with what it was.
    """

    def __init__(self, history: History) -> None:
        self.history = history
        self.by_place: dict[Place, Input] = {one.place: one for one in history.inputs}
        self.by_tag: dict[str, Input] = {one.tag: one for one in history.inputs if one.tag}
        self.outcomes: dict[Place, list[Outcome]] = defaultdict(list)
        for outcome in sorted(history.outcomes, key=lambda one: (one.at, one.where)):
            self.outcomes[outcome.place].append(outcome)
        self.by_request: dict[str, Call] = {call.request_id: call for call in history.calls}
        self.billed: dict[str, list[Call]] = defaultdict(list)
        for call in sorted(history.calls, key=lambda one: one.asked):
            if call.billed:
                for tag in call.tags:
                    self.billed[tag].append(call)
        self.committed_at: dict[Place, float] = {}
        self.taken_back: list[tuple[Commit, Place]] = []
        self._follow_commits()
        self._starts: dict[str, list[float]] = defaultdict(list)
        for member, at in sorted(history.starts, key=lambda one: one[1]):
            self._starts[member].append(at)

    def life(self, call: Call) -> Life:
        """Which process made a call."""
        return call.member, max(0, bisect_right(self._starts[call.member], call.asked) - 1)

    def disturbances(self, since: float, until: float) -> Iterator[Happening]:
        """What went wrong, or moved partitions, between two moments, or shortly before; faults of the service apart."""
        for one in self.history.happenings:
            if one.kind != "fault" and one.at - _TRANSIT_SECONDS <= until and one.until + _AFTERMATH_SECONDS >= since:
                yield one

    def harm(self, member: str, since: float, until: float) -> list[Happening]:
        """What befell a member itself, or its brokers, between two moments; what was over before is left out."""
        return [
            one
            for one in self.disturbances(since, until)
            if one.member in {None, member}
            and one.kind not in PLANNED
            and (one.at if one.kind in UNPLANNED else one.until + _RECOVERY_SECONDS) >= since - _TRANSIT_SECONDS
        ]

    def cause(self, first: Call, second: Call) -> Happening | None:
        """What made an event be called for again: what befell the first caller, else what moved its partition."""
        harm = self.harm(first.member, first.asked, second.asked)
        found = harm or list(self.disturbances(first.asked, second.asked))
        return max(found, key=lambda one: (one.kind in UNPLANNED and bool(harm), one.at), default=None)

    def behind(self, again: Mapping[Place, Sequence[tuple[float, float]]]) -> Callable[[Input, float, float], bool]:
        """Tells whether a verdict still had to wait for an earlier event at a moment, because of the order promised.

        It is asked with the event, when its answer was there, and the moment. Where the earlier event has several
        outcomes, the one that counts is the first after that answer. An event that was itself billed before the moment
        and again after it, as `again` says, is not taken for one that was waited for.
        """
        order = self.history.terms.order
        rows: dict[object, list[Place]] = defaultdict(list)
        for place in sorted(self.by_place):
            one = self.by_place[place]
            if one.event_id is not None and (order == "partition" or one.key is not None):
                rows[(place[0], one.key) if order == "key" else place[0]].append(place)

        def waited(one: Input, answered: float, at: float) -> bool:
            if order == "unordered":
                return False
            row = rows[(one.place[0], one.key) if order == "key" else one.place[0]]
            for place in row:
                if place >= one.place:
                    return False
                if any(first < at <= second for first, second in again.get(place, ())):
                    continue
                ends = [each.at for each in self.outcomes.get(place, ()) if each.at >= answered]
                if (min(ends) if ends else math.inf if place not in self.outcomes else 0.0) >= at:
                    return True
            return False

        return waited

    def on_the_wire(self, member: str, at: float) -> list[Call]:
        """A member's calls without an answer at a moment, of those that were billed in the end."""
        return [
            call
            for call in self.history.calls
            if call.member == member
            and call.billed
            and call.asked <= at + _TRANSIT_SECONDS
            and (call.answered is None or call.answered >= at)
            and call.asked >= at - 60
        ]

    def uncommitted(self, member: str, at: float) -> list[tuple[Call, Input]]:
        """A member's answers at a moment whose events were not committed yet."""
        found = []
        for call in self.history.calls:
            if call.member != member or not call.billed or call.answered is None or call.answered >= at:
                continue
            for tag in call.tags:
                one = self.by_tag.get(tag)
                if one is not None and self.committed_at.get(one.place, at) >= at:
                    found.append((call, one))
        return found

    def _follow_commits(self) -> None:
        offsets: dict[int, list[int]] = defaultdict(list)
        for partition, offset in sorted(self.by_place):
            offsets[partition].append(offset)
        commits: dict[int, list[Commit]] = defaultdict(list)
        for commit in sorted(self.history.commits, key=lambda one: one.at):
            commits[commit.partition].append(commit)
        for partition, of_partition in commits.items():
            self._follow(partition, offsets[partition], of_partition)

    def _follow(self, partition: int, offsets: Sequence[int], commits: Sequence[Commit]) -> None:
        pending: list[int] = []
        seen = base = 0
        above: set[int] = set()
        for commit in commits:
            end = bisect_left(offsets, max(commit.offset, commit.above.end if commit.above is not None else 0))
            pending += offsets[seen:end]
            seen = max(seen, end)
            still_pending = []
            for offset in pending:
                if commit.covers(offset):
                    self.committed_at[partition, offset] = commit.at
                    above.add(offset)
                else:
                    still_pending.append(offset)
            pending = still_pending
            below = offsets[bisect_left(offsets, commit.offset) : bisect_left(offsets, base)]
            lost = [one for one in (*below, *above) if not commit.covers(one)]
            self.taken_back += ((commit, (partition, one)) for one in lost)
            base = max(base, commit.offset)
            above = {one for one in above if one >= base and commit.covers(one)}
