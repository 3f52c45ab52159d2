"""Where plugins give way: before a record is read, and before the policy's plugin is asked about what was judged."""

from __future__ import annotations

from typing import TYPE_CHECKING

from consumer.plugins.pace import Pace


if TYPE_CHECKING:
    from consumer.engine.ports import Claim, Judge
    from consumer.event import Event
    from consumer.routing import Route
    from consumer.settings import EmbeddedSettings
    from consumer.verdict import Judgement


__all__ = ["PacedJudge"]


class PacedJudge:
    """A judge whose judgements come no faster than the policy's plugin can be asked what is to be done about them.

    A slow plugin keeps the event loop, and in that time all answers come in that were on their way. Without a plugin
    the judge is asked directly.

    Attributes:
        pace: What the intake is to give way by.
        judge: See `Judge`. When cancelled while it waits for its turn, the judgement is lost.
    """

    def __init__(self, judge: Judge, settings: EmbeddedSettings) -> None:
        self.pace = Pace()
        self._judge = judge
        self.judge = judge.judge
        self.follow(settings)

    def follow(self, settings: EmbeddedSettings) -> None:
        """Have way given to the plugins that these settings name, if any."""
        of_policy = settings.policy.plugin is not None
        self.judge = self._in_turn if of_policy else self._judge.judge
        self.pace.on = (
            of_policy
            or settings.mapping.plugin is not None
            or settings.format.plugin is not None
            or any(one.plugin is not None for one in settings.format.topics.values())
            or any(route.when.plugin is not None for route in settings.routes)
        )

    async def _in_turn(self, event: Event, route: Route, claim: Claim) -> Judgement:
        judgement = await self._judge.judge(event, route, claim)
        await self.pace.judged()
        return judgement
