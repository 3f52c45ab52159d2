"""Functions of the user's own in the place of a mapping, a routing rule, a policy or a codec: what each is given."""

from __future__ import annotations

from consumer.plugins.protocols import CodecFunction, MappingFunction, PolicyFunction, RuleFunction


__all__ = ["CodecFunction", "MappingFunction", "PolicyFunction", "RuleFunction"]
