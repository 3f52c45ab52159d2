"""Tests of the licences that come with an installation."""

from __future__ import annotations

import pytest

from tools.dependencies import PARTS, installed, licence
from tools.licences import PAGE, page, refused


def test_the_page_is_current() -> None:
    """docs/licences.md is what the locks and the packages' metadata say today; `make licences` writes it anew."""
    assert PAGE.read_text(encoding="utf-8") == page()


@pytest.mark.parametrize("part", PARTS)
def test_every_licence_is_one_that_companies_let_in(part: str) -> None:
    """No package of the runtime or of an extra comes under the GPL, the AGPL, or anything else than what is allowed."""
    assert {name: refused(licence(name)) for name in installed(part) if refused(licence(name))} == {}


@pytest.mark.parametrize(
    ("expression", "words"),
    [
        ("MIT", set()),
        ("MPL-2.0 AND (Apache-2.0 OR MIT)", set()),
        ("GPL-3.0-or-later", {"GPL-3.0-or-later"}),
        ("MIT AND (AGPL-3.0-only OR SSPL-1.0)", {"AGPL-3.0-only", "SSPL-1.0"}),
        ("License :: OSI Approved :: GNU Affero General Public License v3", None),
        ("unknown", {"unknown"}),
    ],
)
def test_what_is_not_allowed_is_refused(expression: str, words: set[str] | None) -> None:
    """A licence that is not on the list is refused: alone, in an expression, in free words, and where none is given."""
    assert refused(expression) == words if words is not None else refused(expression)
