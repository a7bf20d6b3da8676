from __future__ import annotations

from pathlib import Path

import pytest

from bench import weights
from bench.errors import MissingError


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
    (folder / "scheduler_config.json").write_text("{}")
    assert weights.digest(folder) != before


def test_a_checkpoint_says_what_it_was_trained_on(tmp_path: Path) -> None:
    assert weights.trained_on(str(tmp_path)) == ((), ())
    for facts, expected in (
        ('{"trained_on": ["hpsv2.1", "pickscore"]}', ("hpsv2.1", "pickscore")),
        ('{"reward": "pickscore"}', ("pickscore",)),
        ('{"reward": null}', ()),
        ('{"trained_on": []}', ()),
        ("[]", ()),
        ("{", ()),
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
    real = weights.sha256_file
    monkeypatch.setattr(weights, "sha256_file", lambda path: (read.append(path.name), real(path))[1])
    folder = model_folder(tmp_path / "a")
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
    blob = blobs / weights.sha256_file(file)
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
