"""Runs whose images a server makes, and everything that a server does wrong."""

from __future__ import annotations

import base64
import math
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import bench
from bench.analysis.compare import compare
from bench.errors import BenchError, MissingError, UsageError
from bench.generation.served import seed_of
from bench.models import endpoint_draw, endpoint_retry
from bench.models.endpoint import open_served
from bench.pipeline.run import run
from bench.store.run_store import RunStore, find_runs
from bench.suite.schema import Suite
from bench.suite.served import EndpointSpec
from tests.unit.bench.models import fake_metrics
from tests.unit.bench.models.images_server import ImagesServer, answer, image_answer, picture, png, serving

PROBES = 8
"""Requests of a whole probe: 2 alone, 4 in a burst, other steps, other guidance; then 1 at the end of a call."""


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[ImagesServer]:
    monkeypatch.setattr(endpoint_retry, "FIRST_WAIT", 0.01)
    with serving(ImagesServer()) as one:
        yield one


class Bench:
    """A suite of an endpoint, and where its runs lie."""

    def __init__(self, folder: Path, server: ImagesServer) -> None:
        self.folder, self.server, self.data = folder, server, {}
        prompts = folder / "p.jsonl"
        words = {"circle": "a red circle", "star": "a large star", "dots": "three dots"}
        prompts.write_text("".join(f'{{"id": "{key}", "text": "{text}"}}\n' for key, text in words.items()))
        self.data: dict[str, Any] = {
            "name": "tiny",
            "prompts": str(prompts),
            "samples": 2,
            "resolution": 32,
            "sampler": {"steps": 4},
            "metrics": {"fake_image": {}, "fake_group": {}},
        }

    def suite(self, endpoint: dict[str, Any] | None = None, **more: Any) -> Suite:
        told = {"url": self.server.url, "concurrency": 2, **(endpoint or {})}
        model = {"kind": "endpoint", "weights": "tiny", "endpoint": told}
        return Suite.model_validate({**self.data, "model": model, **more})

    def run(self, method: str = "base", results: str = "results", **endpoint: Any) -> RunStore:
        (store,) = run(self.suite(endpoint), [method], results=self.folder / results)
        return store

    def values(self, results: str = "results") -> Any:
        return bench.load_results(self.folder / results).set_index(["metric", "prompt_id", "sample"])

    def refused(self, **endpoint: Any) -> str:
        with pytest.raises(BenchError) as error:
            self.run(**endpoint)
        return str(error.value)


@pytest.fixture
def at(tmp_path: Path, server: ImagesServer) -> Bench:
    fake_metrics.install()
    return Bench(tmp_path, server)


@pytest.mark.slow
def test_a_request_leaves_nothing_to_the_server_and_two_runs_are_equal(at: Bench) -> None:
    first, second = at.run(), at.run(results="again")
    body = next(one for one in at.server.of_run if one["prompt"] == "a large star")
    assert body == {
        "model": "tiny",
        "prompt": "a large star",
        "n": 1,
        "seed": body["seed"],
        "size": "32x32",
        "num_inference_steps": 4,
        "guidance_scale": 7.5,
        "response_format": "b64_json",
    }
    assert body["seed"] in {seed_of(42, "star", 0), seed_of(42, "star", 1)}
    assert 0 <= body["seed"] < 2**31
    assert first.name == second.name
    assert first.manifest().complete
    assert {row.key: row.sha256 for row in first.images()} == {row.key: row.sha256 for row in second.images()}
    assert {row.seed for row in first.images()} == {
        seed_of(42, p, k) for p in ("circle", "star", "dots") for k in (0, 1)
    }
    assert at.values()["value"].equals(at.values("again")["value"])


def test_a_finished_run_asks_for_no_picture(at: Bench) -> None:
    at.run()
    before = len(at.server.requests)
    assert before == PROBES + 6 + 1
    at.run()
    assert len(at.server.requests) == before


def test_the_manifest_says_who_made_the_images_and_how_reliably(at: Bench) -> None:
    store = at.run(declares={"cache": "tea"}, request={"extra": 1})
    told = store.manifest().provenance["endpoint"]
    assert told["deterministic"] == {"alone": True, "in_batch": True}
    assert told["server"]["model"] == {"id": "tiny", "root": "tiny-v1"}
    assert told["server"]["version"] == {"version": "1.0"}
    assert at.server.of_run[0]["extra"] == 1
    identity = store.manifest().identity
    assert (identity["model"], identity["dtype"], identity["sampler"]["scheduler"]) == (
        told["digest"],
        "server",
        "server",
    )


@pytest.mark.slow
def test_who_the_server_is_makes_the_run(at: Bench) -> None:
    names = {at.run().name, at.run(declares={"cache": "tea"}).name, at.run(request={"lora": {"name": "x"}}).name}
    at.server.models = [{"id": "tiny", "root": "tiny-v2"}]
    names.add(at.run().name)
    assert len(names) == 4
    assert at.run(concurrency=1, timeout=50).name in names  # neither changes a pixel of a server that draws alike


def test_a_busy_server_is_asked_again(at: Bench) -> None:
    at.server.hook = lambda body, before: answer(503, "busy", Retry_After="0") if before < 2 else None
    assert len(at.run().images()) == 6
    assert len(at.server.of_run) == 8


@pytest.mark.slow
@pytest.mark.parametrize(
    ("status", "after", "told"),
    [(503, "0", "HTTP 503"), (429, "99999", "asks to wait 99,999 s"), (429, "", "HTTP 429")],
)
def test_a_server_that_stays_busy_is_given_up(at: Bench, status: int, after: str, told: str) -> None:
    headers = {"Retry_After": after} if after else {}
    at.server.hook = lambda body, before: answer(status, "busy", **headers)
    at.server.probe_hook = lambda body, before: answer(status, "busy", **headers) if before >= PROBES else None
    said = at.refused()
    assert told in said
    assert "makes no images any more" in said
    assert "run the same command again" in said
    assert len(at.server.of_run) <= 4 * endpoint_retry.TRIES
    at.server.hook = at.server.probe_hook = None
    assert len(at.run().images()) == 6


def truncated(body: dict[str, Any]) -> Any:
    text = base64.b64encode(png(body)).decode()
    return answer(200, {"data": [{"b64_json": text[: len(text) // 2 + 1]}]})


def with_format(body: dict[str, Any], name: str) -> Any:
    import io

    from PIL import Image

    buffer = io.BytesIO()
    Image.new("RGB", (32, 32)).save(buffer, format=name)
    return image_answer(buffer.getvalue())


BAD = {
    "truncated base64": (truncated, "not valid base64"),
    "a damaged file": (lambda body: image_answer(png(body)[:200]), "cannot be decoded"),
    "another size": (lambda body: picture(body, size=(16, 32)), "16 x 32 pixels, asked for 32 x 32"),
    "a lossy file": (lambda body: with_format(body, "JPEG"), "not a PNG file"),
    "text": (lambda body: image_answer(b"<html>"), "not a PNG file"),
    "nothing": (lambda body: image_answer(b""), "it is empty"),
    "a link": (lambda body: answer(200, {"data": [{"url": "http://other/x.png"}]}), "a link in place of a picture"),
    "two": (lambda body: answer(200, {"data": [{}, {}]}), "2 pictures for n = 1"),
    "no JSON": (lambda body: answer(200, b"oops"), "has no data"),
    "deep JSON": (lambda body: answer(200, b"[" * 100_000), "has no data"),
    "another prompt": (
        lambda body: answer(200, {"data": [{"b64_json": "", "revised_prompt": "a cat"}]}),
        "a prompt that the server revised",
    ),
    "a failure": (lambda body: answer(500, {"error": {"message": "CUDA error"}}), "HTTP 500: CUDA error"),
    "a refusal": (
        lambda body: answer(400, {"error": {"message": "unsafe"}}),
        "refused by the endpoint (HTTP 400: unsafe)",
    ),
    "a huge answer": (lambda body: answer(200, b" " * (5 << 20)), "larger than"),
}


@pytest.mark.slow
def test_what_is_no_picture_is_a_reason_of_that_unit(at: Bench) -> None:
    prompts = at.folder / "bad.txt"
    prompts.write_text("".join(f"{kind}\n" for kind in ["a red circle", *BAD]))
    at.data |= {"prompts": str(prompts), "samples": 1}
    at.server.hook = lambda body, before: BAD[body["prompt"]][0](body) if body["prompt"] in BAD else None
    store = at.run()
    assert store.manifest().complete
    assert len(store.images()) == 1
    reasons = {prompt["text"]: at.values().loc[("fake_image", prompt["id"], 0)] for prompt in store.manifest().prompts}
    for kind, (_, told) in BAD.items():
        assert told in reasons[kind]["reason"], kind
        assert math.isnan(reasons[kind]["value"]), kind
    asked = [body["prompt"] for body in at.server.of_run]
    often = {kind: asked.count(kind) for kind in BAD}
    assert often.pop("a refusal") == 1
    assert often.pop("a huge answer") == 2 * endpoint_retry.TRIES
    assert set(often.values()) == {2 * endpoint_draw.TRIES}
    assert at.run().name == store.name
    assert len(at.server.of_run) == len(asked)  # never asked for again


@pytest.mark.parametrize("status", [500, 503])
def test_a_short_outage_is_no_reason_for_good(at: Bench, status: int) -> None:
    tries = {500: endpoint_draw.TRIES, 503: endpoint_retry.TRIES}[status]
    down = seed_of(42, "star", 1)
    seen: list[int] = []

    def outage(body: dict[str, Any], before: int) -> Any:
        if body["seed"] == down and len(seen) < tries:
            seen.append(before)
            return answer(status, {"error": {"message": "restarting"}})
        return None

    at.server.hook = outage
    store = at.run()
    assert len(seen) == tries
    assert len(store.images()) == 6
    assert not store.refusals()


def test_a_group_with_a_refused_image_has_no_value(at: Bench) -> None:
    refused = seed_of(42, "star", 1)
    at.server.hook = lambda body, before: answer(422, {"detail": "no"}) if body["seed"] == refused else None
    at.run()
    values = at.values()
    assert values.loc[("fake_image", "star", 0), "reason"] != values.loc[("fake_image", "star", 1), "reason"]
    group = values.xs("fake_group", level="metric").xs("star", level="prompt_id")
    assert group["value"].isna().all()
    assert "1 of its 2 images were not made: refused by the endpoint (HTTP 422: no)" in group["reason"].iloc[0]


def test_a_server_that_refuses_everything_makes_no_run(at: Bench) -> None:
    at.server.hook = lambda body, before: answer(400, {"error": {"message": "no"}})
    assert "has no image, since the endpoint made none (refused by the endpoint (HTTP 400: no))" in at.refused()


@pytest.mark.parametrize(
    ("ignored", "told"),
    [
        ("seed", "ignores seed: two seeds give one picture"),
        ("num_inference_steps", "ignores num_inference_steps"),
        ("guidance_scale", "ignores guidance_scale"),
    ],
)
def test_a_server_that_ignores_what_is_asked_is_refused(at: Bench, ignored: str, told: str) -> None:
    at.server.ignored = frozenset({ignored})
    assert told in at.refused()
    assert not at.server.of_run


def test_a_server_that_draws_at_random_is_refused(at: Bench) -> None:
    at.server.probe_hook = lambda body, before: picture({**body, "nonce": before})
    assert "one seed gives pictures as different as two seeds do" in at.refused()


def nearly(body: dict[str, Any], nonce: int) -> Any:
    """The picture of a request but for one pixel."""
    import io

    from PIL import Image

    from bench.store.atomic import png_bytes

    drawn = Image.open(io.BytesIO(png(body)))
    drawn.putpixel((nonce % 32, nonce // 32 % 32), (1, 2, 3))
    return image_answer(png_bytes(drawn))


def test_a_server_that_draws_nearly_the_same_pairs_by_seed_only(at: Bench, caplog: pytest.LogCaptureFixture) -> None:
    at.server.probe_hook = at.server.hook = nearly
    first = at.run()
    assert first.manifest().provenance["endpoint"]["deterministic"] == {"alone": False, "in_batch": False}
    second = at.run(declares={"x": 1})
    notes = " ".join(compare(first.path, second.path).notes)
    assert "pairing is by seed only" in notes
    assert "(alone)" in notes
    assert "scheduler and precision are its own" in notes


@pytest.mark.slow
def test_a_server_that_draws_otherwise_in_a_burst_says_so(at: Bench) -> None:
    at.server.probe_hook = lambda body, before: nearly(body, before) if 2 <= before < 6 else None
    first, second = at.run(), at.run(declares={"x": 1})
    assert first.manifest().provenance["endpoint"]["deterministic"] == {"alone": True, "in_batch": False}
    assert "beside other requests" in " ".join(compare(first.path, second.path).notes)
    alone = at.run(concurrency=1, results="alone"), at.run(concurrency=1, declares={"x": 1}, results="alone")
    assert "by seed only" not in " ".join(compare(alone[0].path, alone[1].path).notes)


def test_a_server_restarted_with_another_model_is_noticed_and_nothing_is_lost(at: Bench) -> None:
    def restarted(body: dict[str, Any], before: int) -> None:
        if before == 3:
            at.server.models = [{"id": "tiny", "root": "other"}]

    at.server.hook = restarted
    said = at.refused(concurrency=1)
    assert 'is another one now: it says root = "other", before "tiny-v1"' in said
    assert "are kept" in said
    (store,) = find_runs(at.folder / "results")
    kept = {row.key: row.sha256 for row in store.images()}
    assert len(kept) == 3
    at.server.hook, at.server.models = None, [{"id": "tiny", "root": "tiny-v1"}]
    again = at.run(concurrency=1)
    assert again.name == store.name
    assert kept.items() <= {row.key: row.sha256 for row in again.images()}.items()


def test_another_model_under_the_same_name_is_noticed_by_its_pictures(
    at: Bench, caplog: pytest.LogCaptureFixture
) -> None:
    at.server.probe_hook = lambda body, before: picture({**body, "other": 1}) if before >= PROBES else None
    first = at.run()
    assert first.manifest().provenance["endpoint"]["numerics_changed"]
    assert "draws another picture than before for the same request" in caplog.text
    second = at.run(declares={"x": 1})
    assert "two makers" in " ".join(compare(first.path, second.path).notes)


def test_a_run_that_was_broken_off_goes_on_with_equal_images(at: Bench) -> None:
    at.server.hook = lambda body, before: answer(401, {"error": {"message": "expired"}}) if before >= 3 else None
    assert "asks for an API key (HTTP 401: expired)" in at.refused(concurrency=1)
    (store,) = find_runs(at.folder / "results")
    assert 1 <= len(store.images()) < 6
    assert not store.manifest().complete
    asked, kept = len(at.server.of_run), len(store.images())
    at.server.hook = None
    done = at.run(concurrency=1)
    assert len(at.server.of_run) - asked == 6 - kept
    whole = at.run(results="whole")
    assert {row.key: row.sha256 for row in done.images()} == {row.key: row.sha256 for row in whole.images()}
    assert at.values()["value"].equals(at.values("whole")["value"])


def test_the_key_is_sent_and_never_shown_or_written(
    at: Bench, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    at.server.key = "sk-right"
    assert "export IMAGES_KEY=..." in at.refused(api_key_env="IMAGES_KEY")
    monkeypatch.setenv("IMAGES_KEY", "sk-wrong")
    said = at.refused(api_key_env="IMAGES_KEY")
    assert "the key in IMAGES_KEY is not accepted" in said
    assert "sk-wrong" not in said
    monkeypatch.setenv("IMAGES_KEY", "sk-right")
    at.server.hook = lambda body, before: answer(400, {"detail": "not for sk-right"}) if before == 0 else None
    store = at.run(api_key_env="IMAGES_KEY")
    assert len(store.images()) == 5
    for path in at.folder.rglob("*"):
        assert not path.is_file() or b"sk-right" not in path.read_bytes()
    assert "sk-right" not in caplog.text
    assert "not for ***" in caplog.text
    monkeypatch.setenv("IMAGES_KEY", "two\nlines")
    assert "characters that no key has" in at.refused(api_key_env="IMAGES_KEY", declares={"x": 1})


@pytest.mark.parametrize(
    ("url", "address", "is_sent"),
    [
        ("https://one.example/v1", "https://one.example:8001/v1", True),
        ("https://one.example/v1", "https://other.example/v1", False),
        ("https://one.example/v1", "https://one.example.other/v1", False),
        ("https://one.example/v1", "http://one.example/v1", False),
        ("https://one.example/v1", "http://127.0.0.1:8000/v1", False),
        ("http://127.0.0.1:8000/v1", "http://localhost:8001/v1", True),
        ("http://one.example/v1", "https://one.example/v1", True),
    ],
)
def test_the_key_goes_to_the_host_of_the_suite_alone(
    monkeypatch: pytest.MonkeyPatch, url: str, address: str, is_sent: bool
) -> None:
    monkeypatch.setenv("IMAGES_KEY", "sk-right")
    spec = EndpointSpec(url=url, api_key_env="IMAGES_KEY")
    assert open_served(f"lora@{address}", spec).client.key == ("sk-right" if is_sent else None)
    assert open_served("own", spec).client.key == "sk-right"


def test_a_key_is_asked_for(at: Bench) -> None:
    at.server.key = "sk"
    assert "name its variable as endpoint.api_key_env" in at.refused()


def test_redirects_are_not_followed(at: Bench) -> None:
    at.server.hook = lambda body, before: answer(307, b"", Location="http://elsewhere/v1")
    assert "redirects to http://elsewhere/v1 (HTTP 307), which is not followed" in at.refused()


@pytest.mark.slow
def test_a_slow_server_is_given_up(at: Bench) -> None:
    ends = threading.Event()

    def slow(body: dict[str, Any], before: int) -> None:
        if body["prompt"] == "a large star":
            ends.wait(20)

    at.server.hook = slow
    try:
        store = at.run(timeout=0.5)
    finally:
        ends.set()
    assert "no whole answer within 0.5 s" in at.values().loc[("fake_image", "star", 0), "reason"]
    assert len(store.images()) == 4


def test_no_server_and_the_wrong_model_are_told(at: Bench) -> None:
    at.server.models = [{"id": "other"}, {"id": "third"}]
    assert "does not serve 'tiny', but other, third" in at.refused()
    with pytest.raises(MissingError, match=r"connection was refused \(is the server running\?\)"):
        at.run(url="http://127.0.0.1:9/v1")


def test_sglang_says_its_model_otherwise(at: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    usual = at.server.get
    body = {"model_path": "tiny", "dit_precision": "bf16"}
    monkeypatch.setattr(at.server, "get", lambda path: answer(200, body) if path == "/v1/models" else usual(path))
    assert at.run().manifest().provenance["endpoint"]["server"]["model"] == body


def test_tuned_models_are_served_under_their_names_and_mixing_is_refused(at: Bench, tmp_path: Path) -> None:
    at.data["methods"] = {"refl": {"weights": "tuned"}, "combined": {"weights": "tuned", "switch_step": 2}}
    at.server.models.append({"id": "tuned"})
    store = at.run("refl")
    identity = store.manifest().identity
    assert identity["model"] is None
    assert len(identity["tuned"]) == 64
    assert {body["model"] for body in at.server.requests} == {"tuned"}
    assert {body["guidance_scale"] for body in at.server.of_run} == {1.0}
    with pytest.raises(UsageError, match="mixes two models within one picture"):
        at.run("combined")
    with serving(ImagesServer(models=[{"id": "apart"}])) as other:
        at.data["methods"] = {"refl": {"weights": f"apart@{other.url}"}}
        at.run("refl")
        assert len(other.of_run) == 6
        assert {body["model"] for body in other.of_run} == {"apart"}


def test_a_methods_own_steps_are_sent(at: Bench) -> None:
    base = at.run()
    before = len(at.server.of_run)
    at.data["methods"] = {"fewer_steps": {"steps": 2}}
    few = at.run("fewer_steps")
    assert {body["num_inference_steps"] for body in at.server.of_run[before:]} == {2}
    assert {one.sha256 for one in few.images()}.isdisjoint(one.sha256 for one in base.images())
    assert few.manifest().identity["steps"] == 2


@pytest.mark.parametrize(
    ("method", "key"), [("int8", "precision"), ("deepcache", "cache_interval"), ("spell", "coupling")]
)
def test_what_a_server_cannot_be_told_is_refused(at: Bench, method: str, key: str) -> None:
    with pytest.raises(UsageError, match=f"method '{method}' has a {key}, which acts within a picture's steps or wei"):
        at.run(method)
    assert not at.server.requests


def test_guidance_is_sent_as_the_suite_says(at: Bench) -> None:
    at.run(guidance_as="true_cfg_scale")
    assert "guidance_scale" not in at.server.of_run[0]
    assert at.server.of_run[0]["true_cfg_scale"] == 7.5
    assert "set guidance to 1" in at.refused(guidance_as="none")


def test_a_negative_prompt_is_sent_and_must_be_heeded(at: Bench) -> None:
    at.data["negative_prompt"] = "blur"
    at.run()
    assert {body["negative_prompt"] for body in at.server.of_run} == {"blur"}
    at.server.ignored = frozenset({"negative_prompt"})
    assert "ignores negative_prompt" in at.refused(declares={"x": 1})


def test_settings_of_a_local_model_are_refused(at: Bench) -> None:
    for options in ({"batch_size": 2}, {"compile": True}, {"fuse_lora": True}):
        with pytest.raises(UsageError, match="has no meaning for an endpoint"):
            run(at.suite(), ["base"], results=at.folder / "r", **options)  # type: ignore[arg-type]
    with pytest.raises(UsageError, match="dtype is the server's own choice"):
        run(at.suite(), ["base"], results=at.folder / "r", dtype="float16")


def test_plan_asks_once_and_says_when_nobody_answers(at: Bench) -> None:
    assert bench.plan(at.suite(), ["base"], results=at.folder / "r").missing == 6
    assert not at.server.requests
    silent = bench.plan(at.suite({"url": "http://127.0.0.1:9/v1"}), ["base"], results=at.folder / "r")
    assert "does not answer" in silent.fetch[0].what
