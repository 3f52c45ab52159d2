"""The exception tree."""

from __future__ import annotations

import re

from consumer import errors
from consumer.errors import MappingError, ModerationConsumerError, RecordError, SettingsError


def test_the_drawn_tree_is_the_tree() -> None:
    """The picture in the module's docstring has every exception, under its parent."""
    drawn: dict[str, str] = {}
    above: list[tuple[int, str]] = []
    for line in (errors.__doc__ or "").splitlines():
        found = re.match(r"[│├└─ ]*([A-Z]\w+)(?:  |$)", line)
        if found:
            depth, name = found.start(1), found[1]
            above = [(at, parent) for at, parent in above if at < depth]
            drawn[name] = above[-1][1] if above else "Exception"
            above.append((depth, name))
    real = {name: getattr(errors, name).__bases__[0].__name__ for name in errors.__all__}
    assert drawn == real


def test_each_record_error_has_a_stage_and_a_reason() -> None:
    """A dead letter says where it failed and why; a more exact reason can be given."""
    ours: list[object] = [getattr(errors, name) for name in errors.__all__]
    kinds = [kind for kind in ours if isinstance(kind, type) and issubclass(kind, RecordError)]
    assert len({kind.stage for kind in kinds}) == len({kind.code for kind in kinds}) == len(kinds)
    assert MappingError("id: nothing").reason == "mapping"
    assert MappingError("id: nothing", code="no_id", request_id="r", attempts=2).reason == "no_id"


def test_a_settings_error_has_every_problem() -> None:
    """All problems are told at once, a line each, and all errors of ours are caught by one name."""
    error: ModerationConsumerError = SettingsError(["a: wrong", "b: missing"])
    assert str(error) == "a: wrong\nb: missing"
