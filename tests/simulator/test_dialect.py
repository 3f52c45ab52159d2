"""The same answer in both spellings."""

from __future__ import annotations

from tests.simulator.plain import Bench


def test_the_seed_dialect_spells_text_answers_as_the_pages_do() -> None:
    """`Riskwords`, `Keywords`, a code as a string, and positions whose end comes first, with the same content."""
    bench = Bench(dialect="seed")
    answer = bench.text("forbidden brand, buy cocaine")
    library, drugs = answer["Data"]["Result"]
    assert (answer["Code"], answer["Message"]) == ("200", "OK")
    assert library["CustomizedHit"] == [{"LibName": "Simulator Library", "Keywords": "forbidden brand"}]
    assert drugs["Riskwords"] == "buy cocaine"
    assert drugs["RiskPositions"] == [{"RiskWord": "buy cocaine", "StartPos": 28, "EndPos": 17}]


def test_the_seed_dialect_spells_image_answers_as_the_pages_do() -> None:
    """`Message` instead of `Msg`, and a risk level for the image only."""
    answer = Bench(dialect="seed").image("https://cdn.example.com/high/1.jpg")
    assert answer["Message"] == "OK"
    assert "Msg" not in answer
    assert answer["Data"]["RiskLevel"] == "high"
    assert "RiskLevel" not in answer["Data"]["Result"][0]


def test_errors_are_spelled_in_the_dialect_too() -> None:
    """A business error has its code as a string, a gateway error is the same in both dialects."""
    bench = Bench(dialect="seed")
    assert bench.text("")["Code"] == "400"
    assert bench.ask("Unheard", "x")["Code"] == "InvalidAction.NotFound"


def test_the_table_dialect_is_the_seed_dialect_to_other_operations() -> None:
    """Text and image answers differ from the SDK's in the same way in both."""
    seed, table = ({**Bench(dialect=dialect).text("buy cocaine"), "RequestId": ""} for dialect in ("seed", "table"))
    assert seed == table
