"""How methods look: that of their row, and for others a free look that the name decides; in an order of their rows."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from bench.analysis.table.rows import family
from bench.errors import UsageError
from bench.methods import Method, Schedule, method_names, register_method
from bench.methods.catalogue import MARKERS, METHODS, display_rank, get_method
from bench.registry.metrics import display_order, metric_names
from bench.reporting.payload import _SYMBOLS
from bench.reporting.style import looks, text_colour
from metrics import catalogue

TUNED = Schedule("constant", value=1.0)
# As published reports show them: a change of these is a change of every figure.
KNOWN = {
    "base": ("#707070", "o"),
    "refl": ("#d55e00", "s"),
    "combined": ("#0072b2", "^"),
    "imagerefl": ("#009e73", "D"),
    "aig": ("#cc79a7", "v"),
    "draft": ("#e69f00", "P"),
    "dpo": ("#56b4e9", "X"),
    "scaled": ("#7a5195", "p"),
    "mixgrpo": ("#8c6d31", "h"),
}


@pytest.fixture
def own() -> Iterator[None]:
    """A method of a plug-in, forgotten afterwards."""
    register_method(Method("mine", "Mine", TUNED, colour="#123456", marker="*"))
    register_method(Method("half", "Half", TUNED, colour="#654321"))
    yield
    for name in ("mine", "half"):
        for table in (METHODS._targets, METHODS._loaded, METHODS._origins):
            table.pop(name, None)


def test_rows_of_the_catalogue_have_a_look_of_their_own() -> None:
    found = looks(method_names())
    assert {name: found[name] for name in KNOWN} == KNOWN
    assert len(set(found.values())) == len(found)
    # printed without colours the methods of published reports still differ; there are fewer markers than methods
    assert len({marker for _, marker in KNOWN.values()}) == len(KNOWN)


def test_every_marker_can_be_drawn_by_the_page() -> None:
    assert set(MARKERS) == set(_SYMBOLS)


def test_other_methods_get_a_free_look_by_their_name() -> None:
    names = [f"method-{i}" for i in range(40)]
    alone = {name: looks([name])[name] for name in names}
    together = looks([*names, *method_names()])
    assert len(set(together.values())) == len(together)
    assert looks([*reversed(names), *method_names()]) == together
    kept = [name for name in names if alone[name] == together[name]]
    assert len(kept) > 10  # where two names want the same look, one gives way
    assert not set(alone.values()) & set(KNOWN.values())
    many = looks([f"method-{i}" for i in range(200)])
    assert len(set(many.values())) > 50


def test_methods_of_one_sweep_look_alike() -> None:
    found = looks(["new[switch_step=5]", "new[switch_step=20]", "new", "combined[switch_step=5]"])
    assert len(set(found.values())) == 2
    assert found["combined[switch_step=5]"] == KNOWN["combined"]


@pytest.mark.usefixtures("own")
def test_a_plug_in_says_its_look_or_part_of_it() -> None:
    found = looks(["mine", "half", "base"])
    assert found["mine"] == ("#123456", "*")
    assert found["half"][0] == "#654321"
    assert found["half"][1] in MARKERS


@pytest.mark.parametrize(
    ("look", "wrong"),
    [
        ({"colour": "red"}, "colour 'red' must be written as #rrggbb"),
        ({"marker": "$x$"}, "marker '.x.' must be one of"),
    ],
)
def test_a_look_that_cannot_be_drawn_is_refused(look: dict[str, str], wrong: str) -> None:
    with pytest.raises(UsageError, match=f"method 'odd': {wrong}"):
        Method("odd", "Odd", TUNED, **look)


def test_a_look_is_no_part_of_how_images_were_made() -> None:
    assert not {"colour", "marker"} & set(get_method("refl").to_dict())


@pytest.mark.usefixtures("own")
def test_methods_stand_in_the_order_of_their_rows() -> None:
    names = ["zeta", "imagerefl", "mine", "aig", "srpo", "base", "dpo"]
    ordered = sorted(names, key=lambda name: (display_rank(family(name)), name))
    assert ordered == ["base", "dpo", "imagerefl", "aig", "srpo", "mine", "zeta"]
    assert [display_rank(name) for name in KNOWN] == [method_names().index(name) for name in KNOWN]


def test_metrics_stand_in_the_order_of_their_facts() -> None:
    first = ["image_reward", "hpsv2.1", "hpsv2", "pickscore", "clip_score", "attribute_accuracy"]
    assert sorted(first, key=display_order) == first
    second = ["lpips", "dreamsim", "attribute_entropy", "dino", "vendi"]
    assert sorted(second, key=display_order) == second
    assert display_order("fid") < display_order("kid") < display_order("nobody's")
    # Other tests in this process may have registered metrics of their own, which have no order.
    own = [name for name in metric_names() if catalogue._TARGETS[name].startswith(("metrics.", "bench."))]
    assert len(own) > 20
    assert all(display_order(name) < display_order("nobody's") for name in own)


def test_names_can_be_read_on_white() -> None:
    assert text_colour("#0072b2") == "#0072b2"  # dark enough as it is
    assert text_colour("#e69f00") != "#e69f00"
