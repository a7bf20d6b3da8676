from __future__ import annotations

import os
import time
from pathlib import Path

import pytest
import torch

from bench.errors import MissingError, UsageError
from bench.models import weight_files, weights
from metrics.weights import digest_cache
from metrics.weights.digest_cache import file_digest


def model_folder(folder: Path, content: bytes = b"weights") -> Path:
    (folder / "unet").mkdir(parents=True)
    (folder / "unet" / "model.safetensors").write_bytes(content)
    (folder / "model_index.json").write_text("{}")
    return folder


def test_the_digest_covers_names_and_contents(tmp_path: Path) -> None:
    first = model_folder(tmp_path / "a")
    assert weights.digest(first) == weights.digest(model_folder(tmp_path / "b"))
    assert weights.digest(first) != weights.digest(model_folder(tmp_path / "c", b"others"))
    moved = model_folder(tmp_path / "d")
    (moved / "unet").rename(moved / "transformer")
    assert weights.digest(first) != weights.digest(moved)


def test_the_digest_leaves_out_what_changes_no_pixel(tmp_path: Path) -> None:
    folder = model_folder(tmp_path / "a")
    before = weights.digest(folder)
    (folder / "README.md").write_text("about")
    (folder / "pipeline.py").write_text("code that is never run")
    (folder / ".cache").mkdir()
    (folder / ".cache" / "x.json").write_text("{}")
    assert weights.digest(folder) == before
    (folder / "scheduler").mkdir()
    (folder / "scheduler" / "scheduler_config.json").write_text("{}")
    assert weights.digest(folder) != before


def test_a_checkpoint_says_what_it_was_trained_on(tmp_path: Path) -> None:
    assert weights.trained_on(str(tmp_path)) == ((), ())
    for facts, expected in (
        ('{"trained_on": ["hpsv2.1", "pickscore"]}', ("hpsv2.1", "pickscore")),
        ('{"reward": "pickscore"}', ("pickscore",)),
        ('{"reward": null}', ()),
        ('{"trained_on": []}', ()),
        ("[]", ()),
    ):
        (tmp_path / "training.json").write_text(facts)
        assert weights.trained_on(str(tmp_path)) == (expected, ())
    (tmp_path / "training.json").write_text('{"trained_on_data": ["coco-train2017"]}')
    assert weights.trained_on(str(tmp_path)) == ((), ("coco-train2017",))
    assert weights.trained_on("shapes:refl") == (("pickscore",), ())


def test_a_checkpoint_that_is_named_as_a_file_says_the_same(tmp_path: Path) -> None:
    file = tmp_path / "adapter_model.safetensors"
    file.write_bytes(b"weights")
    assert weights.trained_on(str(file)) == ((), ())
    (tmp_path / "training.json").write_text('{"trained_on": ["hpsv2.1"], "trained_on_data": ["coco"]}')
    assert weights.trained_on(str(file)) == (("hpsv2.1",), ("coco",))


def test_a_file_is_digested_by_content_alone(tmp_path: Path) -> None:
    for name in ("lora.safetensors", "renamed.safetensors"):
        (tmp_path / name).write_bytes(b"low rank")
    assert weights.digest(tmp_path / "lora.safetensors") == weights.digest(tmp_path / "renamed.safetensors")


def test_a_changed_file_is_read_again_and_an_unchanged_one_is_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    read: list[str] = []
    real = digest_cache._hashed
    monkeypatch.setattr(digest_cache, "_hashed", lambda path: (read.append(path.name), real(path))[1])
    folder = model_folder(tmp_path / "a")
    time.sleep(0.1)  # what changed this moment is not remembered
    before = weights.digest(folder)
    assert weights.digest(folder) == before
    assert sorted(read) == ["model.safetensors", "model_index.json"]
    (folder / "unet" / "model.safetensors").write_bytes(b"retrained")
    assert weights.digest(folder) != before
    assert len(read) == 3


def test_the_hub_cache_is_trusted_to_name_its_blobs(tmp_path: Path) -> None:
    folder = model_folder(tmp_path / "a")
    plain = weights.digest(folder)
    blobs = tmp_path / "blobs"
    blobs.mkdir()
    file = folder / "unet" / "model.safetensors"
    blob = blobs / file_digest(file)
    file.rename(blob)
    file.symlink_to(blob)
    assert weights.digest(folder) == plain


def test_an_empty_folder_has_no_weights(tmp_path: Path) -> None:
    with pytest.raises(MissingError, match="no weights in"):
        weights.digest(tmp_path)


def test_a_local_path_wins(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = model_folder(tmp_path / "owner" / "name")
    assert weights.resolve(str(folder)) == folder
    monkeypatch.chdir(tmp_path)
    assert weights.resolve("owner/name") == Path("owner/name")
    assert weights.digest_of("owner/name") == weights.digest(folder)


def test_embedded_weights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(weights, "_SHAPES", tmp_path)
    model_folder(tmp_path / "pipeline")
    assert weights.resolve("shapes:pipeline") == tmp_path / "pipeline"
    for name in ("pipelin", "", "../pipeline", "refl"):
        with pytest.raises(MissingError, match="make shapes") as caught:
            weights.resolve(f"shapes:{name}")
        assert ("Did you mean 'pipeline'?" in str(caught.value)) == ("pipelin" in name)


@pytest.mark.parametrize(
    "spec", ["nowhere", "/no/such/folder", "./a/b/c.safetensors", "owner/name.safetensors", "a b/c"]
)
def test_a_name_that_is_nothing(spec: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(MissingError, match="do not exist: give a local file or folder, or a hub id"):
        weights.resolve(spec)


def peft_file(path: Path, layout: str = "base_model.model.") -> Path:
    from safetensors.torch import save_file

    path.parent.mkdir(parents=True, exist_ok=True)
    save_file({f"{layout}to_q.lora_A.weight": torch.ones(2, 2)}, path)
    return path


@pytest.mark.parametrize("name", ["adapter_model.safetensors", "mine.safetensors"])
def test_the_configuration_that_is_read_with_a_lora_counts(tmp_path: Path, name: str) -> None:
    """It says how strongly the LoRA acts, so it changes pixels."""
    file = peft_file(tmp_path / "a" / name)
    alone = weights.digest(file)
    config = file.parent / "adapter_config.json"
    config.write_text('{"r": 2, "lora_alpha": 2}')
    first = weights.digest(file)
    config.write_text('{"r": 2, "lora_alpha": 64}')
    assert len({alone, first, weights.digest(file)}) == 3
    moved = peft_file(tmp_path / "b" / "other.safetensors")
    (moved.parent / "adapter_config.json").write_text(config.read_text())
    assert weights.digest(moved) == weights.digest(file)
    weights.check_pin("x", file, file_digest(file))  # the file's own digest, as other tools say it
    with pytest.raises(MissingError, match="have the sha256"):
        weights.check_pin("x", file, "0" * 64)


def test_a_configuration_that_is_not_read_does_not_count(tmp_path: Path) -> None:
    file = peft_file(tmp_path / "pytorch_lora_weights.safetensors", layout="unet.")
    before = weights.digest(file)
    (tmp_path / "adapter_config.json").write_text("{}")
    assert weights.digest(file) == before
    (tmp_path / "damaged.safetensors").write_bytes(b"\xff" * 9)
    assert weights.digest(tmp_path / "damaged.safetensors") == file_digest(tmp_path / "damaged.safetensors")


def test_linked_folders_count(tmp_path: Path) -> None:
    plain = model_folder(tmp_path / "a")
    linked = tmp_path / "b"
    linked.mkdir()
    (linked / "model_index.json").write_text("{}")
    (linked / "unet").symlink_to(plain / "unet", target_is_directory=True)
    assert weights.digest(linked) == weights.digest(plain)
    (linked / "unet" / "loop").symlink_to(linked, target_is_directory=True)
    before = weights.digest(linked)
    (plain / "unet" / "model.safetensors").write_bytes(b"retrained")
    assert weights.digest(linked) != before
    (linked / "broken").symlink_to(tmp_path / "nowhere")
    assert weights.digest(linked) != before


def test_files_that_are_never_loaded_do_not_count(tmp_path: Path) -> None:
    folder = model_folder(tmp_path / "a")
    before = weights.digest(folder)
    for name in (
        "unet/model.fp16.safetensors",
        "unet/model.bin",
        "vae/model.ckpt",
        "safety_checker/model.safetensors",
        "feature_extractor/preprocessor_config.json",
        "v1-5-pruned.safetensors",
        "training.json",
    ):
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_bytes(b"{}")
        assert weights.digest(folder) == before, name
    for name in ("scheduler/scheduler_config.json", "tokenizer/vocab.txt", "original_unet/x.safetensors", "vae/a.json"):
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_bytes(b"{}")
        before, earlier = weights.digest(folder), before
        assert before != earlier, name


def test_a_half_precision_file_that_is_alone_counts(tmp_path: Path) -> None:
    folder = model_folder(tmp_path / "a")
    (folder / "unet" / "model.safetensors").rename(folder / "unet" / "model.fp16.safetensors")
    before = weights.digest(folder)
    (folder / "unet" / "model.fp16.safetensors").write_bytes(b"others")
    assert weights.digest(folder) != before


def test_notes_of_training_are_not_part_of_a_checkpoint(tmp_path: Path) -> None:
    """They hold paths, and a checkpoint that is copied or trained elsewhere in the same way is the same."""
    for marker, text in (("config.json", '{"_class_name": "UNet2DConditionModel"}'), ("adapter_config.json", "{}")):
        folder = tmp_path / marker
        folder.mkdir()
        (folder / marker).write_text(text)
        (folder / "diffusion_pytorch_model.safetensors").write_bytes(b"weights")
        before = weights.digest(folder)
        (folder / "training.json").write_text('{"out": "/some/where"}')
        assert weights.digest(folder) == before


def test_all_of_a_metrics_folder_counts(tmp_path: Path) -> None:
    """Metrics read pickles and packed vocabularies as well."""
    (tmp_path / "config.json").write_text("{}")
    before = weights.digest(tmp_path)
    for name in ("pytorch_model.bin", "vocab.txt.gz", "training.json"):
        (tmp_path / name).write_bytes(b"x")
        before, earlier = weights.digest(tmp_path), before
        assert before != earlier, name


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('{"trained_on": 5}', "trained_on must be a list of names, got 5"),
        ('{"trained_on": ["pickscore", 5]}', "trained_on must be a list of names"),
        ('{"trained_on_data": true}', "trained_on_data must be a list of names, got true"),
        ('{"trained_on": ["pickscore"', "is not valid JSON"),
        ("[" * 100_000, "is not valid JSON"),
    ],
)
def test_a_damaged_training_json_is_said(text: str, said: str, tmp_path: Path) -> None:
    """It would otherwise lose the mark of a metric that the weights were trained on, or end in a traceback."""
    (tmp_path / "training.json").write_text(text)
    with pytest.raises(UsageError, match=f"training.json.*{said}"):
        weights.trained_on(str(tmp_path))


@pytest.mark.timeout(30)
def test_a_pipe_in_the_place_of_a_configuration_is_not_waited_for(tmp_path: Path) -> None:
    (tmp_path / "diffusion_pytorch_model-00001-of-00001.safetensors").write_bytes(b"w")
    without = weights.digest(tmp_path)
    os.mkfifo(tmp_path / "config.json")
    os.mkfifo(tmp_path / "diffusion_pytorch_model.safetensors.index.json")
    assert weights.digest(tmp_path) == without
    with pytest.raises(MissingError, match="index.json is damaged"):
        weight_files.weight_files(tmp_path)
