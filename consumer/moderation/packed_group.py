"""Texts that are asked about together: a call for all of them, and for parts of them where it is not clean."""

from __future__ import annotations

import asyncio
import secrets
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from consumer.batching.packed import joined, parts
from consumer.errors import ContentRefused, LaneClosed
from consumer.moderation.protocol.requests import text_call
from consumer.verdict import Judgement, RiskLevel


if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from consumer.moderation.caller import Caller
    from consumer.moderation.calling.exchange import Stake
    from consumer.moderation.protocol.requests import Call
    from consumer.routing import Route
    from consumer.verdict import Billed


__all__ = ["Group", "Member", "call_about", "is_clean", "words_in"]


@dataclass(slots=True, eq=False)
class Member:
    """A text among others: its own call, its event's stake in theirs, and what it has been through so far."""

    call: Call
    claim: Stake
    came_at: float
    outcome: asyncio.Future[Judgement]
    attempts: int = 0
    request_ids: tuple[str, ...] = ()

    @property
    def waits(self) -> bool:
        """Whether somebody still waits for its verdict."""
        return not self.outcome.done()

    def fail(self, error: BaseException) -> None:
        """Say to whoever waits that there will be no verdict."""
        if self.waits:
            self.outcome.set_exception(error)


class _Company:
    """What all members have in one request, as a single stake. Who may not be part of it leaves.

    A request that has been sent is sent again for those who are left, whoever else it is about: what was paid for it so
    far is theirs to say.
    """

    def __init__(self, members: Sequence[Member]) -> None:
        self._members = members
        self._aboard: list[Member] = []
        self._sent = False

    def begin(self) -> None:
        aboard: list[Member] = []
        for member in self._members:
            if member.waits:
                try:
                    member.claim.begin()
                except LaneClosed as error:
                    member.fail(error)
                else:
                    aboard.append(member)
        if not aboard or (not self._sent and len(aboard) < len(self._members)):
            for member in aboard:
                member.claim.end(billed=False)
            raise LaneClosed("an event has left the call before it was sent")
        self._aboard, self._sent = aboard, True

    def end(self, *, billed: bool) -> None:
        for member in self._aboard:
            member.claim.end(billed=billed)
        self._aboard = []


@dataclass(slots=True, eq=False)
class Group:
    """Has its members judged together, by as many calls as it takes; each is given its own verdict, once.

    `owed` is what was paid and no verdict carries yet: the next one does, so that the sum over the verdicts is what was
    paid, also where some members have left. `calls` counts the calls about several, `shared` is what they came to, and
    `cleared` counts those of the `judged` who needed none of their own.
    """

    inner: Caller
    route: Route
    members: list[Member] = field(default_factory=list)
    task: asyncio.Task[None] | None = None
    owed: list[Billed] = field(default_factory=list)
    shared: list[Billed] = field(default_factory=list)
    calls: int = 0
    judged: int = 0
    cleared: int = 0

    async def settle(self) -> int:
        """Have all members judged, and return how many were found risky; a call that was not clean counts as one.

        When cancelled, it abandons its request, and gives no more verdicts.
        """
        self.task = asyncio.current_task()
        return await self._settle(self.members)

    def end_if_left(self) -> None:
        """Nobody waits any more: give up what is under way."""
        if self.task is not None and not any(member.waits for member in self.members):
            self.task.cancel()

    async def _settle(self, members: Sequence[Member]) -> int:
        try:
            return await self._ask(members)
        except Exception as error:  # noqa: BLE001  # the events that wait for it are told; the others' calls go on
            for member in members:
                member.fail(error)
            return 0

    async def _ask(self, members: Sequence[Member]) -> int:
        while members := [member for member in members if member.waits]:
            alone = len(members) == 1
            call = members[0].call if alone else call_about([member.call for member in members])
            try:
                answer = await self.inner.call(call, _Company(members), route=self.route)
            except LaneClosed:
                if all(member.waits for member in members):
                    raise
            except ContentRefused as refused:
                if alone:
                    raise _after(refused, members[0].attempts) from refused
                return await self._split(members, (), refused.attempts, refused.request_id)
            else:
                self.owed += answer.billed
                if alone:
                    return self._give_its_own(members[0], answer)
                self.calls += 1
                self.shared += answer.billed
                if is_clean(answer):
                    return self._clear(members, answer)
                risky = await self._split(members, words_in(answer), answer.attempts, *answer.request_ids)
                return max(risky, answer.risk_level is not RiskLevel.UNKNOWN)
        return 0

    async def _split(
        self, members: Sequence[Member], words: Collection[str], attempts: int, *request_ids: str | None
    ) -> int:
        for member in members:
            member.attempts += attempts
            member.request_ids += tuple(one for one in request_ids if one is not None)
        async with asyncio.TaskGroup() as group:
            next_calls = parts(members, lambda member: member.call.content, words)
            tasks = [group.create_task(self._settle(part)) for part in next_calls]
        return sum(task.result() for task in tasks)

    def _give_its_own(self, member: Member, answer: Judgement) -> int:
        self._give(member, answer)
        return answer.risk_level not in {RiskLevel.NONE, RiskLevel.UNKNOWN}

    def _clear(self, members: Sequence[Member], answer: Judgement) -> int:
        for member in members:
            self.cleared += self._give(
                member,
                Judgement(
                    RiskLevel.NONE,
                    answer.services,
                    source="packed",
                    request_ids=answer.request_ids,
                    attempts=answer.attempts,
                ),
            )
        return 0

    def _give(self, member: Member, answer: Judgement) -> bool:
        if not member.waits:
            return False
        member.outcome.set_result(
            replace(
                answer,
                request_ids=(*member.request_ids, *answer.request_ids),
                attempts=member.attempts + answer.attempts,
                billed=tuple(self.owed),
            )
        )
        self.owed.clear()
        self.judged += 1
        return True


def call_about(calls: Sequence[Call]) -> Call:
    """One call about the texts of all of these, which are of one service."""
    return text_call(calls[0].service, joined(call.content for call in calls), f"packed-{secrets.token_hex(8)}")


def is_clean(answer: Judgement) -> bool:
    """Whether an answer clears all that it is about: it says that there is no risk, and nothing else."""
    return answer.risk_level is RiskLevel.NONE and not answer.labels and answer.reason is None


def words_in(answer: Judgement) -> tuple[str, ...]:
    """The words that an answer names as what it found, if it does."""
    return tuple(
        word
        for label in answer.labels
        for word in (*label.risk_words, *(keyword for hit in label.custom_hits for keyword in hit.keywords))
    )


def _after(refused: ContentRefused, attempts: int) -> ContentRefused:
    return ContentRefused(
        str(refused), code=refused.reason, request_id=refused.request_id, attempts=attempts + refused.attempts
    )
