"""OCR accuracy, with the real models that its package carries."""

from __future__ import annotations

from pathlib import Path

import matplotlib
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, ImageDraw, ImageFont

import metrics
from metrics.image.ocr import accuracy, distance, wanted_text
from tests.unit.metrics.card_checks import check_card

FONT = Path(matplotlib.__file__).parent / "mpl-data/fonts/ttf/DejaVuSans.ttf"
PROMPT = 'A poster that says "New York Skyline", and "more"'


def drawn(text: str) -> Image.Image:
    image = Image.new("RGB", (320, 320), (40, 90, 140))
    ImageDraw.Draw(image).text((24, 140), text, font=ImageFont.truetype(str(FONT), 30), fill="white")
    return image


@pytest.mark.slow
def test_real_models_read_what_is_drawn() -> None:
    """The published definition on three pictures: right, misspelt, blank."""
    metric = metrics.load("ocr")
    check_card(metric)
    assert len(metric.card.weights) == 3
    pictures = [drawn("New York Skyline"), drawn("New Yrok Skylne"), drawn("")]
    values = metric.score(pictures, [PROMPT] * 3)
    assert values.tolist() == pytest.approx([1.0, 11 / 14, 0.0], abs=1e-6)
    alone = [metric.score([one], [PROMPT]).item() for one in pictures[:2]]
    assert alone == values[:2].tolist()
    with pytest.raises(metrics.MetricError, match="nothing to read"):
        metric.score(pictures[:1], ["A poster without a text"])


@pytest.mark.parametrize("prompt", ["no quotes", 'one " only', '""', '"  "', "curly “quotes”"])
def test_a_prompt_without_a_text_has_no_value(prompt: str) -> None:
    with pytest.raises(metrics.MetricError, match="no text between double quotes"):
        wanted_text(prompt)


def test_the_first_pair_counts() -> None:
    assert wanted_text(PROMPT) == "newyorkskyline"


def test_what_cannot_be_given() -> None:
    with pytest.raises(metrics.MetricError, match="omit weights"):
        metrics.load("ocr", weights="somewhere")


def plain_levenshtein(a: str, b: str) -> int:
    """The textbook recursion, row by row."""
    row = list(range(len(b) + 1))
    for i, x in enumerate(a, 1):
        new = [i]
        for j, y in enumerate(b, 1):
            new.append(min(row[j] + 1, new[-1] + 1, row[j - 1] + (x != y)))
        row = new
    return row[-1]


@given(read=st.text("abcd", max_size=12), wanted=st.text("abcd", min_size=1, max_size=8))
def test_distance_is_levenshtein_with_its_two_exceptions(read: str, wanted: str) -> None:
    expected = 0 if wanted in read else min(plain_levenshtein(read, wanted), len(wanted))
    assert distance(read, wanted) == expected
    assert 0 <= accuracy(read, wanted) <= 1
