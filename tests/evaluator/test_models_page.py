"""The page of models names every model, with the facts of its card."""

from pathlib import Path

import pytest

from evaluator.models.registry import default_registry

PAGE = (Path(__file__).parents[2] / "docs" / "models.md").read_text(encoding="utf-8")
ROWS = {line.split("`")[1]: line for line in PAGE.splitlines() if line.startswith("| `")}


@pytest.mark.parametrize("card", default_registry(plugins=[]).cards(), ids=lambda card: card.name)
def test_every_model_has_a_row_with_its_facts(card):
    row = ROWS[card.name]
    cells = [cell.strip() for cell in row.strip("|").split("|")]
    assert cells[1] == str(card.preprocessing.size)
    assert cells[2] == str(card.dimension)
    assert bool(cells[3]) == ("text" in card.abilities)
    assert cells[4] == f"{card.gflops:g}"
    assert card.weights.file in cells[5]
    assert ("gated" in cells[5]) == card.weights.gated
    assert cells[6] == card.licence


def test_no_row_is_of_a_model_that_is_gone():
    names = {card.name for card in default_registry(plugins=[]).cards()}
    generic = {name for name in ROWS if ":" in name}
    assert set(ROWS) - generic == names
