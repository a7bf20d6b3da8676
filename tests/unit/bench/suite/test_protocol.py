"""`--protocol official`: which metrics of a suite it scores, and what it says of the others."""

from __future__ import annotations

import pytest

from bench.errors import UsageError
from bench.suite.load import load_suite, suite_names
from bench.suite.protocol import official_names, traps_of, under_protocol


def test_the_corrected_protocol_is_the_suite_as_it_is() -> None:
    for name in suite_names():
        suite = load_suite(name)
        assert under_protocol(suite, "corrected") == (suite, [])


def test_official_metrics_have_names_of_their_own_and_the_suites_weights() -> None:
    suite = load_suite("shapes")
    official, sentences = under_protocol(suite, "official", making=True)
    assert list(official.metrics) == ["pickscore@official", "hpsv2.1@official", "image_reward@official"]
    assert official.metrics["hpsv2.1@official"].weights == suite.metrics["hpsv2.1"].weights
    assert "image_reward@official (3, 4, 5, 7)" in sentences[0]
    assert sentences[1].endswith("attribute_accuracy, lpips, dreamsim, attribute_entropy, fid, kid")
    assert sentences[-1].startswith("not applied, since they are of how images are made: 2, ")
    assert sentences[-1].endswith("images are made as always")
    assert not under_protocol(suite, "official")[1][-1].endswith("as always")


@pytest.mark.parametrize("name", suite_names())
def test_every_metric_of_a_ready_suite_is_scored_or_named(name: str) -> None:
    suite = load_suite(name)
    official, sentences = under_protocol(suite, "official")
    told = " ".join(sentences)
    for metric in suite.metrics:
        assert (f"{metric}@official" in official.metrics) is bool(traps_of(metric))
        assert metric in told


def test_options_of_the_corrected_metric_are_not_taken_over() -> None:
    suite = load_suite("shapes")
    spec = suite.metrics["hpsv2.1"].model_copy(update={"options": {"antialias": True}})
    chosen = suite.model_copy(update={"metrics": {"hpsv2.1": spec}})
    official, sentences = under_protocol(chosen, "official")
    assert official.metrics["hpsv2.1@official"].options == {}
    assert "the suite's options of hpsv2.1 are those of the corrected metric and are not used" in sentences


def test_what_it_cannot_do_is_refused() -> None:
    suite = load_suite("shapes")
    with pytest.raises(UsageError, match="unknown protocol 'offical'. Did you mean 'official'"):
        under_protocol(suite, "offical")
    with pytest.raises(UsageError, match="the official code computes none of lpips, fid: name some of image_reward"):
        under_protocol(suite.override(metrics=["lpips", "fid"]), "official")


def test_an_official_metric_may_be_named_by_itself() -> None:
    suite = load_suite("shapes").override(metrics=["hpsv2.1@official", "lpips"])
    assert suite.metrics["hpsv2.1@official"].weights == "shapes:hpsv2"
    assert under_protocol(suite, "corrected")[0] is suite
    assert list(under_protocol(suite, "official")[0].metrics) == ["hpsv2.1@official"]


def test_traps() -> None:
    assert set(official_names()) == {"image_reward", "hpsv2.1", "pickscore", "clip_score", "dino", "clip_diversity"}
    assert traps_of("dino") == (4, 5, 6, 7)
    assert traps_of("image_reward") == (3, 4, 5, 7)
    assert traps_of("lpips") == ()
