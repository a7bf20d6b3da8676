"""The part of a suite that names a server: what it may say, and what is refused with its key."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from bench.errors import UsageError
from bench.suite.load import load_suite

SUITE = """
name = "served"
prompts = "shapes"
{top}
[model]
kind = "endpoint"
weights = "m"
{model}
[model.endpoint]
url = "http://127.0.0.1:8000/v1/"
{endpoint}
[sampler]
steps = 5
{sampler}
[metrics.lpips]
"""


def load(folder: Path, **parts: str) -> Any:
    path = folder / "served.toml"
    path.write_text(SUITE.format(**{"top": "", "model": "", "endpoint": "", "sampler": ""} | parts))
    return load_suite(path)


def test_what_the_server_decides_is_not_the_suites(tmp_path: Path) -> None:
    suite = load(tmp_path)
    assert (suite.dtype, suite.sampler.scheduler, suite.model.family) == ("server", "server", "endpoint")
    assert suite.model.endpoint.url == "http://127.0.0.1:8000/v1"
    again = type(suite).model_validate(suite.resolved())  # as a manifest has it
    assert again == suite
    assert suite.override(limit=3).dtype == "server"


def test_other_suites_do_not_mention_endpoints() -> None:
    assert {"kind", "endpoint"}.isdisjoint(load_suite("shapes").resolved()["model"])


@pytest.mark.parametrize(
    ("parts", "told"),
    [
        ({"top": 'dtype = "float16"'}, "dtype is the server's own choice: remove 'float16'"),
        ({"sampler": 'scheduler = "DDIMScheduler"'}, "sampler may only have steps"),
        ({"sampler": "options = {a = 1}"}, "sampler may only have steps"),
        ({"top": "clip_skip = 1"}, "clip_skip is not known to the API"),
        ({"model": 'family = "sd"'}, "takes no family, got 'sd'"),
        ({"model": "true_cfg = true"}, "true_cfg are not known to the API"),
        ({"endpoint": "concurrency = 0"}, "model.endpoint.concurrency must be at least 1, got 0"),
        ({"endpoint": "timeout = 0"}, "model.endpoint.timeout must be above 0"),
        ({"endpoint": 'api_key_env = "sk-123"'}, "must be the name of an environment variable"),
        ({"endpoint": "request = {seed = 1}"}, "must not have 'seed': it comes from the suite itself"),
        ({"endpoint": 'key = "x"'}, "unknown key 'model.endpoint.key'"),
    ],
)
def test_what_contradicts_an_endpoint_is_refused(tmp_path: Path, parts: dict[str, str], told: str) -> None:
    with pytest.raises(UsageError) as error:
        load(tmp_path, **parts)
    assert told in str(error.value)


@pytest.mark.parametrize(
    "url",
    ["127.0.0.1:8000", "ftp://a/v1", "http://", "http://a:x/v1", "http://u:p@a/v1", "http://a/v1?x=1", "http://a b"],
)
def test_addresses_that_are_none_are_refused(tmp_path: Path, url: str) -> None:
    path = tmp_path / "served.toml"
    text = SUITE.format(top="", model="", endpoint="", sampler="")
    path.write_text(text.replace("http://127.0.0.1:8000/v1/", url))
    with pytest.raises(UsageError, match=r"model\.endpoint\.url must "):
        load_suite(path)


def test_server_is_a_word_of_endpoints_alone(tmp_path: Path) -> None:
    path = tmp_path / "local.toml"
    for line, told in {'dtype = "server"': "dtype may be 'server' only", "": "model has an endpoint"}.items():
        endpoint = "" if line else '[model.endpoint]\nurl = "http://a/v1"\n'
        path.write_text(
            f'prompts = "shapes"\n{line}\n[model]\nweights = "shapes:pipeline"\n{endpoint}[metrics.lpips]\n'
        )
        with pytest.raises(UsageError, match=told):
            load_suite(path)


def test_an_endpoint_needs_its_table(tmp_path: Path) -> None:
    path = tmp_path / "served.toml"
    path.write_text('prompts = "shapes"\n[model]\nkind = "endpoint"\nweights = "m"\n[metrics.lpips]\n')
    with pytest.raises(UsageError, match=r"needs a table \[model\.endpoint\]"):
        load_suite(path)
