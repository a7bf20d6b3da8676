"""The renderer, the captions and the oracle agree with each other."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest

from bench.shapes.captions import ATTRIBUTES, VALUES, caption, parse, random_caption, random_named
from bench.shapes.oracle import read
from bench.shapes.world import RADIUS_RANGE, Scene, position_word, random_scene, render, size_word

SCENE = Scene("square", "red", "white", 10.0, 20.0, 40.0, 0.3, 0.0, 0.9, 0.9, (1.0, 1.0))


def scenes(count: int, seed: int = 0) -> list[Scene]:
    rng = np.random.default_rng(seed)
    return [random_scene(rng) for _ in range(count)]


def test_render_is_a_function_of_the_scene() -> None:
    image = render(SCENE)
    assert image.shape == (64, 64, 3)
    assert image.dtype == np.uint8
    assert np.array_equal(image, render(replace(SCENE)))
    assert not np.array_equal(image, render(replace(SCENE, x=21.0)))


def test_edges_are_anti_aliased() -> None:
    image = render(replace(SCENE, rotation=0.35)).astype(int)
    green = np.unique(image[..., 1])
    assert len(green) > 4, "only paper and ink: no soft edge"


@pytest.mark.parametrize("shape", VALUES["shape"])
def test_every_shape_of_a_radius_covers_the_same_area(shape: str) -> None:
    image = render(replace(SCENE, shape=shape, x=32.0, y=32.0)).astype(float)
    ink, paper = image.min(axis=(0, 1)), image.max(axis=(0, 1))
    covered = ((paper - image) / np.maximum(paper - ink, 1e-9))[..., 1].sum()
    assert covered == pytest.approx(math.pi * 100.0, rel=0.03)


def test_shapes_lie_whole_in_the_picture() -> None:
    for scene in scenes(100):
        image = render(scene).astype(int)
        border = np.concatenate([image[0], image[-1], image[:, 0], image[:, -1]])
        assert (border.max(axis=1) - border.min(axis=1)).max() < 20


@pytest.mark.slow
def test_oracle_reads_rendered_pictures() -> None:
    drawn = scenes(300, seed=5)
    readings = [read(render(scene)) for scene in drawn]
    for attribute in ATTRIBUTES:
        right = np.mean(
            [r.attribute(attribute) == s.attributes()[attribute] for r, s in zip(readings, drawn, strict=True)]
        )
        assert right >= 0.99, attribute
    assert np.mean([abs(r.radius - s.radius) for r, s in zip(readings, drawn, strict=True)]) < 0.1
    assert np.mean([abs(r.x - s.x) + abs(r.y - s.y) for r, s in zip(readings, drawn, strict=True)]) < 0.5


def test_oracle_sees_nothing_on_an_empty_or_noisy_picture() -> None:
    empty = np.full((64, 64, 3), 128, np.uint8)
    assert read(empty).shape is None
    assert read(empty).background == "grey"
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3)).astype(np.uint8)
    assert read(noise).background is None


def test_oracle_refuses_other_sizes() -> None:
    with pytest.raises(ValueError, match="64 x 64"):
        read(np.zeros((32, 32, 3), np.uint8))


def test_words_of_size_and_position() -> None:
    assert size_word(RADIUS_RANGE[0]) == "small"
    assert size_word(RADIUS_RANGE[1]) == "large"
    assert size_word(10.0) is None
    assert position_word(32, 32) == "centre"
    assert position_word(10, 32) == "left"
    assert position_word(32, 50) == "bottom"
    assert position_word(36.5, 32) is None


def test_parse_inverts_caption() -> None:
    rng = np.random.default_rng(3)
    for scene in scenes(200, seed=3):
        named = random_named(scene, rng)
        assert parse(caption(named)) == named
        assert all(scene.attributes()[a] == v for a, v in named.items())


def test_captions_leave_something_free() -> None:
    rng = np.random.default_rng(4)
    counts = [len(parse(random_caption(scene, rng))) for scene in scenes(300, seed=4)]
    assert min(counts) == 0
    assert np.mean(counts) < 3


def test_caption_refuses_what_the_world_lacks() -> None:
    with pytest.raises(ValueError, match="no colour 'pink'"):
        caption({"colour": "pink"})


def test_parse_reads_free_text() -> None:
    assert parse("A STAR, red; on a black background!") == {"shape": "star", "colour": "red", "background": "black"}
    assert parse("a white dog") == {}
