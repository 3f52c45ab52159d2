"""How far packed answers agree with single ones: what was counted, and whether it is enough to go by."""

from __future__ import annotations

import math
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any


if TYPE_CHECKING:
    from collections.abc import Mapping


__all__ = ["Agreement", "Sample", "least_share", "risky_needed"]


# A 95 % interval: were the true share lower than its lower end, one sample in forty would look as good.
_Z = 1.96
# How many times what is needed is remembered at most; then all counts are halved, so that older ones weigh less.
_MEMORY = 4


@dataclass(frozen=True, slots=True)
class Sample:
    """Texts that were judged both ways. `missed` of the `risky` ones were cleared by a call about several.

    `alarms` is how many clean ones were not, and would have been asked about alone. `calls` is how many calls it would
    have taken to judge all of them packed; singly it took one for each.
    """

    texts: int
    risky: int
    missed: int
    alarms: int
    calls: int


@dataclass(frozen=True, slots=True)
class Agreement:
    """The samples of one service so far, older ones with less weight: sums of the same counts as in `Sample`."""

    texts: int = 0
    risky: int = 0
    missed: int = 0
    alarms: int = 0
    calls: int = 0

    @classmethod
    def from_dict(cls, counts: Mapping[str, Any]) -> Agreement:
        """What `to_dict` gave.

        Raises:
            ValueError: these are no such counts.
        """
        values = {field.name: counts.get(field.name) for field in fields(cls)}
        if not all(isinstance(value, int) and value >= 0 for value in values.values()):
            raise ValueError(f"these are no counts of samples: {values}")
        found = cls(**values)  # type: ignore[arg-type]  # they are numbers: that was looked at
        if found.missed > found.risky or found.risky > found.texts:
            raise ValueError(f"more were missed than there were: {values}")
        return found

    def to_dict(self) -> dict[str, int]:
        """The counts by their names."""
        return {field.name: getattr(self, field.name) for field in fields(self)}

    @property
    def lower_bound(self) -> float:
        """The share of risky texts that packed calls find, at the lower end of what the samples allow."""
        return least_share(self.risky - self.missed, self.risky)

    @property
    def saving(self) -> float:
        """The share of calls that packing would have saved; below 0 where it would have cost more."""
        return 1.0 - self.calls / self.texts if self.texts else 0.0

    def suffices(self, least_samples: int, least_agreement: float) -> bool:
        """Whether enough texts were judged both ways, and enough risk was found in both."""
        return self.texts >= least_samples and self.lower_bound >= least_agreement

    def plus(self, sample: Sample, least_samples: int, least_agreement: float) -> Agreement:
        """These counts and those of another sample. Many times what is needed is halved: what changes has to show."""
        new = Agreement(
            self.texts + sample.texts,
            self.risky + sample.risky,
            self.missed + sample.missed,
            self.alarms + sample.alarms,
            self.calls + sample.calls,
        )
        if new.texts < 2 * least_samples or new.risky < _MEMORY * risky_needed(least_agreement):
            return new
        risky = new.risky // 2
        return Agreement(new.texts // 2, risky, min(risky, -(-new.missed // 2)), new.alarms // 2, new.calls // 2)


def least_share(hits: int, trials: int) -> float:
    """The lower end of the 95 % Wilson interval of a share: what it is at least, as far as so many trials can tell."""
    if not hits:
        return 0.0
    share = hits / trials
    square = _Z * _Z
    spread = _Z * math.sqrt(share * (1 - share) / trials + square / (4 * trials * trials))
    return max(0.0, (share + square / (2 * trials) - spread) / (1 + square / trials))


def risky_needed(least_agreement: float) -> int:
    """How many risky texts have to be found in both ways, and none be missed, for this lower bound."""
    return math.ceil(_Z * _Z * least_agreement / (1 - least_agreement))
