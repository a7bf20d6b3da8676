"""States of prompts: kept to the bit, bounded by bytes, encoded ahead in the order of the run."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import torch

from bench.models.sd import StableDiffusion
from bench.models.states import KnownStates, device_bytes
from tests.unit.bench.models.tiny import tiny_pipeline, tiny_suite

PROMPTS = [f"a red circle number {n}" for n in range(8)]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_pipeline(tmp_path_factory.mktemp("tiny") / "pipeline")


@pytest.fixture
def model(folder: Path, monkeypatch: pytest.MonkeyPatch) -> StableDiffusion:
    """A model that counts which prompts it encodes, in `encoded`."""
    made: Any = StableDiffusion(folder, tiny_suite("DDIMScheduler", 2))
    made.encoded = Counter()
    real = made._encode_text

    def counting(side: Any, text: str) -> Any:
        made.encoded[text] += 1
        return real(side, text)

    monkeypatch.setattr(made, "_encode_text", counting)
    return made  # type: ignore[no-any-return]


def states(*shape: int, value: float = 1.0) -> dict[str, torch.Tensor]:
    return {"text": torch.full(shape, value)}


# --- what is kept


def test_trailing_zeros_are_not_kept_and_come_back() -> None:
    """Stable Diffusion 3 without T5: 77 rows of 2,048 in 333 rows of 4,096."""
    text = torch.zeros(333, 4096, dtype=torch.bfloat16)
    text[:77, :2048] = torch.randn(77, 2048)
    known = KnownStates()
    known.put("a", {"text": text, "pooled": torch.randn(64)})
    assert known.bytes == 2 * 77 * 2048 + 4 * 64
    assert torch.equal(known["a"]["text"], text)
    assert known["a"]["text"].dtype == torch.bfloat16


@pytest.mark.parametrize(
    "state",
    [
        torch.zeros(3, 4),
        torch.zeros(0, 4),
        torch.tensor([[1.0, 0.0], [0.0, 0.0]]),
        torch.tensor([0.0, -0.0]),
        torch.tensor(0.0),
        torch.tensor([1, 1, 0, 0]),
        torch.tensor([True, False]),
        torch.tensor([float("nan"), 0.0]),
        torch.randn(2, 3, 4, generator=torch.Generator().manual_seed(0)),
    ],
    ids=["zeros", "empty", "corner", "minus zero", "scalar", "integers", "switches", "NaN", "random"],
)
def test_any_state_comes_back_to_the_bit(state: torch.Tensor) -> None:
    known = KnownStates()
    known.put("a", {"x": state.clone()})
    found = known["a"]["x"]
    assert (found.shape, found.dtype) == (state.shape, state.dtype)
    assert found.numpy().tobytes() == state.numpy().tobytes()


def test_the_bound_holds_and_the_oldest_are_dropped() -> None:
    known = KnownStates(most_bytes=3 * 40)
    for name in "abcd":
        known.put(name, states(10))
        assert known.bytes <= 3 * 40
    assert known.texts() == ["b", "c", "d"]
    _ = known["b"]
    known.put("e", states(10))
    assert known.texts() == ["d", "b", "e"]
    known.clear()
    assert (known.bytes, len(known)) == (0, 0)


def test_what_is_needed_stays_whatever_the_bound() -> None:
    known = KnownStates(most_bytes=40)
    for name in "abc":
        known.put(name, states(10), needed="abc")
    assert known.texts() == ["a", "b", "c"]
    known.put("d", states(10))
    assert known.texts() == ["d"]


def test_only_devices_with_their_own_memory_hold_states() -> None:
    assert device_bytes(torch.device("cpu")) == 0


# --- when prompts are encoded


def test_a_processor_encodes_when_the_batch_is_made(model: Any) -> None:
    model.prepare(PROMPTS)
    assert model.encoded == {}
    model.encode(PROMPTS[:2])
    assert list(model.encoded) == PROMPTS[:2]
    model.encode(PROMPTS[1:3])
    assert model.encoded == dict.fromkeys(PROMPTS[:3], 1)


def test_too_long_prompts_are_told_before_the_first_batch_and_once(model: Any, said: list[str]) -> None:
    long = [*PROMPTS, "a star " * 30, "a circle " * 40]
    model.prepare(long)
    wanted = ["2 prompts are longer than the text encoder's limit of 24 tokens; the rest is truncated"]
    assert said == wanted
    model.encode(long)
    assert said == wanted


def test_ahead_all_are_encoded_at_once_where_they_fit(model: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    moved = ahead(model, monkeypatch)
    model.prepare(PROMPTS)
    assert model.encoded == dict.fromkeys(PROMPTS, 1)
    assert moved[-1] == "cpu"  # the encoders make room
    count = len(moved)
    model.encode(PROMPTS[3:5])
    assert len(moved) == count
    assert model.encoded == dict.fromkeys(PROMPTS, 1)


def test_ahead_within_the_bound_in_the_order_of_the_run(model: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    moved = ahead(model, monkeypatch)
    wanted = model.encode(PROMPTS).states["text"]
    size = model.text.known.bytes // len(PROMPTS)
    model.text.known, model.encoded = KnownStates(3 * size), Counter()
    model.prepare(PROMPTS)
    assert list(model.encoded) == PROMPTS[:3]
    moved.clear()
    rows = []
    for start in range(0, len(PROMPTS), 2):
        rows.append(model.encode(PROMPTS[start : start + 2]).states["text"])
        assert model.text.known.bytes <= 3 * size
    assert torch.equal(torch.cat(rows), wanted)  # alone, in a window, ahead or not: the same bits
    assert model.encoded == dict.fromkeys(PROMPTS, 1)
    assert len(moved) == 2 * 3  # in and out again, once for each of the other windows


def test_a_batch_larger_than_the_bound_is_encoded_whole(model: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    ahead(model, monkeypatch)
    model.text.known = KnownStates(1)
    model.prepare(PROMPTS)
    assert len(model.encode([*PROMPTS, PROMPTS[0]]).states["text"]) == 9
    assert len(model.encode(PROMPTS[:1]).states["text"]) == 1


def ahead(model: Any, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The model as on CUDA: it encodes ahead; returned are the devices that its encoders were moved to."""
    moved: list[str] = []
    monkeypatch.setattr(model, "_is_ahead", lambda: bool(model._coming))
    monkeypatch.setattr(model.text.encoders[0], "to", lambda device: moved.append(str(device)))
    return moved
