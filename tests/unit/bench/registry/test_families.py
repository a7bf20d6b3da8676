"""One row has all that is known of a family without its weights."""

from __future__ import annotations

from bench.methods.conditions import NAMES
from bench.models.families import TITLES, family_of_config, family_of_index, family_of_keys
from bench.models.load import family_class
from bench.registry.families import FAMILIES, ROWS, family_row


def test_rows_are_complete_and_apart() -> None:
    assert [row.name for row in ROWS] == [name for name in FAMILIES.names() if FAMILIES.is_builtin(name)]
    for facts in ("title", "pipelines", "networks", "marks"):
        values = [value for row in ROWS for value in _listed(getattr(row, facts))]
        assert len(values) == len(set(values)) >= len(ROWS), facts
    assert all(set(row.conditions) <= set(NAMES) for row in ROWS)
    assert family_row("mine") is None


def _listed(value: str | tuple[str, ...]) -> tuple[str, ...]:
    return (value,) if isinstance(value, str) else value


def test_a_row_names_its_adapter_and_diffusers_classes() -> None:
    import diffusers

    for row in ROWS:
        assert family_class(row.name).family == row.name
        assert all(hasattr(diffusers, name) for name in (*row.pipelines, *(n.split("/")[0] for n in row.networks)))


def test_what_a_row_says_is_how_its_family_is_recognised() -> None:
    for row in ROWS:
        assert {family_of_index({"_class_name": name}) for name in row.pipelines} == {row.name}
        for network in row.networks:
            name, _, embedding = network.partition("/")
            assert family_of_config({"_class_name": name, "addition_embed_type": embedding or None}) == row.name
        assert {family_of_keys([f"model.{mark}0.weight"]) for mark in row.marks} == {row.name}
        assert TITLES[row.name] == row.title
    assert family_of_config({"_class_name": "UNet2DConditionModel", "addition_embed_type": "text"}) == "sd"
    assert family_of_config({"_class_name": "ChromaTransformer2DModel"}) is None
    assert family_of_keys(["down_blocks.0.resnets.0.w", "add_embedding.linear_1.weight"]) == "sdxl"
    assert family_of_keys(["nothing"]) is None
