"""Tests of the audit's reading of pip-audit's answers: the service itself is asked by `make audit` alone."""

from __future__ import annotations

from tools.audit import UNAVAILABLE, outcome, read


WANTED = {"aiohttp": "3.14.5", "click": "8.5.1"}
CLEAN = {"name": "click", "version": "8.5.1", "vulns": []}
FLAWED = {
    "name": "aiohttp",
    "version": "3.14.5",
    "vulns": [{"id": "PYSEC-1", "fix_versions": ["3.14.6"], "aliases": ["CVE-1"], "description": "…"}],
}
SKIPPED = {"name": "aiohttp", "skip_reason": "Dependency not found and could not be audited: aiohttp (3.14.5)"}


def test_all_is_well() -> None:
    """Where every package was asked about and nothing is known, it says so and ends with 0."""
    found = read({"dependencies": [CLEAN, {**CLEAN, "name": "aiohttp"}]}, WANTED)
    assert outcome(found, ci=True) == ("No vulnerability is known in what the locks name.", 0)


def test_a_vulnerability_is_named_with_its_remedy() -> None:
    """A vulnerable package is named with the entry, its aliases and the version that mends it, and it ends with 1."""
    text, code = outcome(read({"dependencies": [CLEAN, FLAWED]}, WANTED), ci=False)
    assert text == "VULNERABLE: aiohttp 3.14.5: PYSEC-1, CVE-1; mended in 3.14.6"
    assert code == 1


def test_what_was_not_asked_about_is_not_clean() -> None:
    """A package that pip-audit skipped, and takes for clean, is named; on CI that is a failure."""
    for report in ({"dependencies": [CLEAN, SKIPPED]}, {"dependencies": [CLEAN]}):
        found = read(report, WANTED)
        text, code = outcome(found, ci=True)
        assert text == "NOT AUDITED, the vulnerability service said nothing about: aiohttp 3.14.5"
        assert code == UNAVAILABLE
        assert outcome(found, ci=False) == (text, 0)
