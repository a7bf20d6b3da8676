"""Weights from a hub that really answers: what is fetched, kept, refused, and said when it fails."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest

from bench.errors import MissingError, UsageError
from bench.models import weights
from tests.hub.server import Hub

WEIGHTS = bytes(range(256)) * 64
INDEX = {
    "_class_name": "StableDiffusionPipeline",
    "unet": ["diffusers", "UNet2DConditionModel"],
    "vae": ["diffusers", "AutoencoderKL"],
    "text_encoder": ["transformers", "CLIPTextModel"],
    "tokenizer": ["transformers", "CLIPTokenizer"],
    "scheduler": ["diffusers", "DDPMScheduler"],
    "safety_checker": ["stable_diffusion", "StableDiffusionSafetyChecker"],
    "feature_extractor": ["transformers", "CLIPImageProcessor"],
    "image_encoder": [None, None],
}
# As a widely used repository looks: twins, pickles, whole-pipeline files in the root, code.
PIPELINE = {
    "model_index.json": json.dumps(INDEX).encode(),
    "README.md": b"about",
    "pipeline.py": b"raise SystemExit",
    "v1-5-pruned.safetensors": WEIGHTS,
    "v1-5-pruned.ckpt": WEIGHTS,
    "unet/config.json": b'{"of": "unet"}',
    "unet/diffusion_pytorch_model.safetensors": WEIGHTS,
    "unet/diffusion_pytorch_model.fp16.safetensors": WEIGHTS[:100],
    "unet/diffusion_pytorch_model.non_ema.safetensors": WEIGHTS[:101],
    "unet/diffusion_pytorch_model.bin": WEIGHTS[:102],
    "vae/config.json": b'{"of": "vae"}',
    "vae/diffusion_pytorch_model.safetensors": WEIGHTS[:1000],
    "text_encoder/config.json": b'{"of": "text_encoder"}',
    "text_encoder/model.safetensors": WEIGHTS[:2000],
    "tokenizer/vocab.json": b'{"of": "tokenizer"}',
    "tokenizer/merges.txt": b"#version: 0.2",
    "scheduler/scheduler_config.json": b'{"of": "scheduler"}',
    "safety_checker/model.safetensors": WEIGHTS[:3000],
    "feature_extractor/preprocessor_config.json": b'{"of": "feature_extractor"}',
}
NEEDED = {
    "model_index.json", "unet/config.json", "unet/diffusion_pytorch_model.safetensors", "vae/config.json",
    "vae/diffusion_pytorch_model.safetensors", "text_encoder/config.json", "text_encoder/model.safetensors",
    "tokenizer/vocab.json", "tokenizer/merges.txt", "scheduler/scheduler_config.json",
}  # fmt: skip


def files_of(folder: Path) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}


def sentence(spec: str) -> str:
    with pytest.raises(MissingError) as caught:
        weights.resolve(spec)
    text = str(caught.value)
    assert "\n" not in text
    assert spec.split("#")[0].split("@")[0].split(":")[0] in text
    return text


def test_of_a_pipeline_the_parts_are_fetched_and_nothing_else(hub: Hub) -> None:
    hub.add("owner/name", PIPELINE)
    folder = weights.resolve("owner/name")
    assert files_of(folder) == NEEDED
    assert hub.fetched() == NEEDED
    assert (folder / "unet/diffusion_pytorch_model.safetensors").read_bytes() == WEIGHTS


def test_half_precision_is_fetched_where_there_is_nothing_else(hub: Hub) -> None:
    """Whole or in shards; beside whole weights it stays away."""
    pipeline = dict(PIPELINE)
    del pipeline["unet/diffusion_pytorch_model.safetensors"]
    del pipeline["vae/diffusion_pytorch_model.safetensors"]
    shards = {
        "vae/diffusion_pytorch_model.fp16-00001-of-00002.safetensors": WEIGHTS[:10],
        "vae/diffusion_pytorch_model.fp16-00002-of-00002.safetensors": WEIGHTS[:20],
        "vae/diffusion_pytorch_model.safetensors.index.fp16.json": b"{}",
        "vae/diffusion_pytorch_model.bf16.safetensors": WEIGHTS[:30],
    }
    hub.add("owner/name", pipeline | shards | {"text_encoder/model.fp16.safetensors": WEIGHTS[:40]})
    expected = {name for name in NEEDED if not name.endswith("diffusion_pytorch_model.safetensors")}
    expected |= {name for name in shards if "bf16" not in name}
    expected |= {"unet/diffusion_pytorch_model.fp16.safetensors"}
    folder = weights.resolve("owner/name")
    assert files_of(folder) == expected
    before = weights.digest(folder)
    hub.asked.clear()
    assert weights.digest(weights.resolve("owner/name")) == before
    assert hub.asked == []
    assert files_of(weights.resolve("owner/name:unet")) == {"config.json", "diffusion_pytorch_model.fp16.safetensors"}


def test_pickles_and_code_are_never_asked_for(hub: Hub) -> None:
    hub.add("owner/name", PIPELINE)
    for spec in ("owner/name", "owner/name:unet"):
        weights.resolve(spec)
    for bad in ("owner/name:unet/diffusion_pytorch_model.bin", "owner/name:pipeline.py", "owner/name:v1-5-pruned.ckpt"):
        assert "can run code when it is loaded" in sentence(bad)
    assert not [file for _, _, file in hub.asked if file.endswith((".py", ".bin", ".ckpt"))]


def test_a_subfolder_and_a_file(hub: Hub) -> None:
    hub.add("owner/name", PIPELINE)
    unet = weights.resolve("owner/name:unet")
    assert files_of(unet) == {"config.json", "diffusion_pytorch_model.safetensors"}
    assert hub.fetched() == {f"unet/{name}" for name in files_of(unet)}
    file = weights.resolve("owner/name:unet/diffusion_pytorch_model.safetensors")
    assert file.read_bytes() == WEIGHTS


def test_a_lora_brings_its_settings(hub: Hub) -> None:
    hub.add("owner/lora", {"adapter_model.safetensors": WEIGHTS, "adapter_config.json": b"{}", "optimizer.bin": b"x"})
    file = weights.resolve("owner/lora:adapter_model.safetensors")
    assert (file.parent / "adapter_config.json").is_file()
    assert files_of(weights.resolve("owner/lora")) == {"adapter_model.safetensors", "adapter_config.json"}


def test_what_is_cached_is_used_without_asking(hub: Hub) -> None:
    hub.add("owner/name", PIPELINE)
    first = weights.resolve("owner/name:unet")
    hub.asked.clear()
    assert weights.resolve("owner/name:unet") == first
    assert hub.asked == []
    whole = weights.resolve("owner/name")  # more than is there: only the rest is fetched
    assert files_of(whole) == NEEDED
    assert not any(file.startswith("unet/") for file in hub.fetched())
    hub.asked.clear()
    assert weights.resolve("owner/name") == whole
    assert hub.asked == []


def test_offline_the_cache_is_enough_and_the_rest_is_told(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    from huggingface_hub import constants

    hub.add("owner/name", PIPELINE)
    folder = weights.resolve("owner/name:unet")
    before = weights.digest(folder)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    hub.asked.clear()
    assert weights.digest_of("owner/name:unet") == before
    text = sentence("owner/name:vae")
    assert "HF_HUB_OFFLINE is set" in text
    assert "`hf download owner/name vae/`" in text
    assert hub.asked == []


def test_a_cache_without_a_listing_is_used_offline_and_completed_online(
    hub: Hub, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Older clients kept no list of a repository's files, so nothing tells whether the cached copy is whole."""
    from huggingface_hub import _tree_cache, constants

    hub.add("owner/name", PIPELINE)
    folder = weights.resolve("owner/name")
    for listing in (tmp_path / "cache").rglob("trees/*.json"):
        listing.unlink()
    (folder / "vae/diffusion_pytorch_model.safetensors").unlink()
    monkeypatch.setattr(_tree_cache, "_IN_MEMORY_TREE_CACHE", {})
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    assert weights.resolve("owner/name") == folder
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    assert files_of(weights.resolve("owner/name")) == NEEDED


def test_a_revision_is_pinned(hub: Hub) -> None:
    old = hub.add("owner/name", {"config.json": b"{}", "model.safetensors": WEIGHTS[:10]})
    pinned = weights.resolve(f"owner/name@{old.commit}")
    new = hub.add("owner/name", {"config.json": b"{}", "model.safetensors": WEIGHTS[:20]}, branches=("main", "v2"))
    assert (weights.resolve("owner/name@v2") / "model.safetensors").read_bytes() == WEIGHTS[:20]
    assert (pinned / "model.safetensors").read_bytes() == WEIGHTS[:10]
    assert weights.resolve(f"owner/name@{new.commit}") == weights.resolve("owner/name@v2")
    assert "owner/name has no revision 'v3'" in sentence("owner/name@v3")


def test_a_repository_that_is_not_there(hub: Hub) -> None:
    text = sentence("owner/nothing")
    assert "no path of that name here and no public repository owner/nothing on the hub" in text
    assert not text.endswith("..")


def test_a_folder_that_is_not_there_is_suggested(hub: Hub) -> None:
    hub.add("owner/name", PIPELINE)
    text = sentence("owner/name:une")
    assert "has no 'une'. Did you mean 'unet'?" in text
    assert "Folders with weights: safety_checker, text_encoder, unet, vae." in text


def test_a_repository_of_pickles_only(hub: Hub) -> None:
    hub.add("owner/old", {"unet/config.json": b'{"of": "unet"}', "unet/model.bin": WEIGHTS})
    text = sentence("owner/old:unet")
    assert "unet has no .safetensors file (there are .bin), and formats that can run code are not fetched" in text
    assert "no .safetensors file" in sentence("owner/old")


def test_gated(hub: Hub) -> None:
    hub.add("owner/gated", PIPELINE, gated=True)
    text = sentence("owner/gated")
    assert "owner/gated is gated: accept its terms on its page on the hub, then log in with `hf auth login`" in text


def test_a_cut_connection_is_resumed_where_it_was_cut(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "DOWNLOAD_CHUNK_SIZE", 1000)  # what is kept are whole chunks
    hub.add("owner/name", PIPELINE)
    hub.cuts["unet/diffusion_pytorch_model.safetensors"] = [5000, 3000]
    folder = weights.resolve("owner/name:unet")
    assert hub.ranges == ["bytes=5000-", "bytes=8000-"]
    assert (folder / "diffusion_pytorch_model.safetensors").read_bytes() == WEIGHTS


def test_a_connection_that_stays_cut_leaves_nothing_half_and_the_next_try_goes_on(hub: Hub, tmp_path: Path) -> None:
    hub.add("owner/name", PIPELINE)
    broken = "unet/diffusion_pytorch_model.safetensors"
    hub.cuts[broken] = [700] + [0] * 20
    assert "the connection broke on the way: run again, the files that are finished are kept" in sentence("owner/name")
    blobs = {path.name: path.read_bytes() for path in (tmp_path / "cache").rglob("blobs/*")}
    assert hashlib.sha256(WEIGHTS).hexdigest() not in blobs
    assert not [name for name in blobs if name.endswith(".incomplete")]
    done = {path.name for path in (tmp_path / "cache").rglob("snapshots/**/*") if path.is_file()}
    hub.cuts.clear()
    hub.asked.clear()
    assert files_of(weights.resolve("owner/name")) == NEEDED
    assert broken in hub.fetched()
    assert "model_index.json" in done
    assert "model_index.json" not in hub.fetched()


@pytest.mark.parametrize("name", ["diffusion_pytorch_model.safetensors", "config.json"])
def test_what_arrives_damaged_is_not_kept(hub: Hub, name: str) -> None:
    hub.add("owner/name", PIPELINE)
    hub.damaged = {f"unet/{name}"}
    assert f"{name} of 'owner/name:unet' arrived damaged" in sentence("owner/name:unet")
    hub.damaged = set()
    assert (weights.resolve("owner/name:unet") / "config.json").read_bytes() == PIPELINE["unet/config.json"]
    assert (weights.resolve("owner/name:unet") / "diffusion_pytorch_model.safetensors").read_bytes() == WEIGHTS


def test_a_demanded_sha256(hub: Hub, tmp_path: Path) -> None:
    hub.add("owner/name", PIPELINE)
    spec = "owner/name:unet/diffusion_pytorch_model.safetensors"
    right = hashlib.sha256(WEIGHTS).hexdigest()
    assert weights.resolve(f"{spec}#sha256={right.upper()}") == weights.resolve(spec)
    assert weights.digest_of(f"{spec}#sha256={right}") == right
    text = sentence(f"{spec}#sha256={'0' * 64}")
    assert f"have the sha256 {right}, expected {'0' * 64}" in text
    folder = weights.digest_of("owner/name:unet")
    assert weights.digest_of(f"owner/name:unet#sha256={folder}") == folder
    local = tmp_path / "mine.safetensors"
    local.write_bytes(WEIGHTS)
    assert weights.resolve(f"{local}#sha256={right}") == local
    with pytest.raises(UsageError, match="must be 64 hex digits, got 3 characters"):
        weights.resolve(f"{local}#sha256=abc")


@pytest.mark.parametrize(("status", "said"), [(500, "the hub answered with status 500: run again later")])
def test_a_hub_in_trouble(hub: Hub, monkeypatch: pytest.MonkeyPatch, status: int, said: str) -> None:
    hub.add("owner/name", PIPELINE)
    hub.status = status
    assert said in sentence("owner/name")


def test_nobody_answers(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "ENDPOINT", "http://127.0.0.1:9")
    text = sentence("owner/name")
    said = (
        'cannot be reached: run `hf download owner/name --include "*.safetensors" --include "*.json" --include "*.txt"'
    )
    assert f"http://127.0.0.1:9 {said}" in text
    monkeypatch.setattr(constants, "ENDPOINT", "http://no-such-host.invalid")
    assert "http://no-such-host.invalid cannot be reached" in sentence("owner/name")


def test_what_answers_is_no_hub(hub: Hub) -> None:
    hub.add("owner/name", PIPELINE)
    hub.bare = True
    assert "what answered is no hub" in sentence("owner/name")


def test_a_full_disk(hub: Hub, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    import errno

    from huggingface_hub import file_download

    def full(*args: object, **settings: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    hub.add("owner/name", PIPELINE)
    with monkeypatch.context() as patch:
        patch.setattr(file_download, "http_get", full)
        text = sentence("owner/name")
    assert f"the disk of {tmp_path / 'cache'} is full: free some space, or set HF_HOME" in text
    assert files_of(weights.resolve("owner/name")) == NEEDED


def test_metrics_fetch_by_the_same_road(hub: Hub) -> None:
    from metrics.errors import MissingWeightsError
    from metrics.weights.hub import cached, locate

    hub.add("owner/scorer", {"HPS.pt": WEIGHTS, "config.json": b"{}", "model.safetensors": WEIGHTS[:9], "run.py": b""})
    assert cached("owner/scorer:HPS.pt") is None
    path = locate("owner/scorer:HPS.pt")
    assert path.read_bytes() == WEIGHTS
    assert cached("owner/scorer:HPS.pt") == path
    assert files_of(locate("owner/scorer", ["config.json", "*.safetensors"])) >= {"config.json", "model.safetensors"}
    assert "run.py" not in hub.fetched()
    with pytest.raises(
        MissingWeightsError, match="owner/scorer has no file 'none.pt': check the name behind the colon"
    ):
        locate("owner/scorer:none.pt")
