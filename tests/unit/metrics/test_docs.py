import subprocess
import sys
from pathlib import Path

import pytest

from metrics.builtin import BUILTIN
from metrics.catalogue import find_class
from metrics.docs import document
from metrics.set.leakage import leakage_notes
from metrics.torchmetrics_forms import FORMS

ROOT = Path(__file__).parents[3]


def test_the_page_is_current() -> None:
    page = (ROOT / "docs" / "metrics.md").read_text(encoding="utf-8")
    assert page == document(), "docs/metrics.md is out of date: python -m metrics.docs > docs/metrics.md"


@pytest.mark.slow
def test_the_command_writes_it() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "metrics.docs"], capture_output=True, text=True, timeout=120, cwd=ROOT, encoding="utf-8"
    )
    assert (done.returncode, done.stdout) == (0, document())


def test_every_metric_has_one_row_of_nine_cells() -> None:
    rows = [line for line in document().split("\n## ")[0].splitlines() if line.startswith("| `")]
    assert [row.split("`")[1] for row in rows] == [facts.name for _, facts in BUILTIN]
    assert all(row.count(" | ") == 8 for row in rows)
    text = "\n".join(rows)
    assert "| -1 to 1 |" in text
    assert "| from 0 |" in text
    assert "| unbounded |" in text
    assert "↓ lower" in text


def test_options_are_listed_and_every_metric_is_supported() -> None:
    options, classes, *refused = document().split("\n## ")[1:]
    assert not refused
    for _, facts in BUILTIN:
        for key in facts.options:
            assert f"| `{facts.name}` | `{key}` |" in options
    assert all(f"| `{path}` | {form.kind.value} |" in classes for path, form in FORMS.items())


def test_leakage_is_said() -> None:
    assert leakage_notes("FID", "coco-2014-train", ["shapes", "COCO-2014-train"]) == [
        "FID: the method was trained on its reference set 'coco-2014-train', the others may not have been"
    ]
    assert leakage_notes("FID", "coco-val2017", ["laion", "coco-train2017", "COCO"]) == [
        "FID: the method was trained on 'coco-train2017' and 'COCO', the collection of its reference set "
        "'coco-val2017'; the others may not have been"
    ]
    assert leakage_notes("FID", "coco-val2017", ["laion-coco", "imagenet-1k"]) == []
    assert leakage_notes("FID", "coco", []) == []


def test_every_option_has_its_meaning_where_its_class_is() -> None:
    for _, facts in BUILTIN:
        if not facts.unsupported:
            said = getattr(find_class(facts.name), "option_help", {})
            assert set(said) >= set(facts.options), facts.name
            assert all(said.values())
