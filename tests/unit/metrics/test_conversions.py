import math
from typing import Any

import numpy as np
import pytest
import torch

from metrics import BadInputError
from metrics.image.pickscore_scale import cosine_of, preference, score_difference, score_of
from tests.tolerance import assert_close


def test_score_and_cosine_are_a_factor_apart() -> None:
    assert cosine_of(21.0, 100.0) == pytest.approx(0.21)
    assert score_of(0.21, 100.0) == pytest.approx(21.0)
    values = np.array([-3.0, 0.0, 22.5])
    assert_close(score_of(cosine_of(values, 98.7), 98.7), values, 1e-15)
    assert cosine_of(torch.tensor([10.0, 20.0]), 50.0).tolist() == [0.2, 0.4]
    for scale in (0.0, -1.0, math.nan, math.inf):
        with pytest.raises(BadInputError, match="not the exp of a logit scale"):
            cosine_of(1.0, scale)


def test_preference_is_the_softmax_of_two_scores() -> None:
    pairs = torch.tensor([[21.0, 20.5], [19.0, 23.0], [20.0, 20.0]], dtype=torch.float64)
    wanted = pairs.softmax(dim=1)[:, 0].numpy()
    assert_close(preference(pairs[:, 0], pairs[:, 1]), wanted, 1e-15)
    assert preference(20.0, 20.0) == 0.5
    assert preference(900.0, -900.0) == 1.0  # no overflow
    assert preference(-900.0, 900.0) == 0.0
    assert preference(21.0, 20.0) + preference(20.0, 21.0) == pytest.approx(1.0, rel=1e-15)


def test_score_gap_is_its_inverse() -> None:
    for difference in (-4.0, -0.1, 0.0, 2.5):
        assert score_difference(preference(difference, 0.0)) == pytest.approx(difference, rel=1e-12, abs=1e-15)
    assert score_difference(np.array([0.0, 0.5, 1.0])).tolist() == [-math.inf, 0.0, math.inf]
    for wrong in (-0.1, 1.1, math.nan, [0.5, 2.0]):
        with pytest.raises(BadInputError, match="in 0..1"):
            score_difference(wrong)


def test_a_loaded_pickscore_knows_its_scale(loaded: Any, pictures: Any, prompts: Any) -> None:
    scores = loaded["pickscore"].score(pictures, prompts)
    cosines = cosine_of(scores, loaded["pickscore"].scale)
    assert_close(cosines * 100, loaded["clip_score"].score(pictures, prompts))
