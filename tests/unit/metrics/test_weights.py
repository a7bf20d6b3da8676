import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

import metrics
from metrics import MissingWeightsError
from metrics.weights import state_dict as files
from tests.tolerance import assert_close

FILES = {
    "pickscore": "model.safetensors",
    "hpsv2.1": "HPS_v2.1_shapes.safetensors",
    "image_reward": "ImageReward.safetensors",
    "lpips": "squeeze.safetensors",
    "dreamsim": "model.safetensors",
    "dino": "model.safetensors",
    "fid": "model.safetensors",
    "fd_dinov2": "model.safetensors",
}


@pytest.fixture
def copy(weights: dict[str, Path], tmp_path: Path) -> Any:
    def make(name: str) -> tuple[Path, Path]:
        folder = tmp_path / name
        shutil.copytree(weights[name], folder)
        return folder, folder / FILES[name]

    return make


def rewrite(path: Path, change: Any) -> str:
    state = load_file(path)
    key = change(state)
    save_file(state, path, metadata={"format": "pt"})
    return str(key)


def drop_one(state: dict[str, torch.Tensor]) -> str:
    key = sorted(k for k in state if k.endswith("weight"))[-1]
    del state[key]
    return key


def add_one(state: dict[str, torch.Tensor]) -> str:
    state["something.else.weight"] = torch.zeros(2)
    return "something.else.weight"


def one_sentence(caught: pytest.ExceptionInfo[BaseException]) -> str:
    text = str(caught.value)
    assert "\n" not in text
    assert caught.value.exit_code == 4
    return text


@pytest.mark.slow
@pytest.mark.parametrize("change", [drop_one, add_one])
@pytest.mark.parametrize("name", FILES)
def test_missing_and_extra_keys_are_named(name: str, change: Any, copy: Any) -> None:
    folder, path = copy(name)
    rewrite(path, change)
    with pytest.raises(MissingWeightsError) as caught:
        metrics.load(name, weights=folder)
    assert "missing" in one_sentence(caught) if change is drop_one else "something.else" in one_sentence(caught)


@pytest.mark.parametrize("name", FILES)
def test_corrupted_file_is_one_sentence(name: str, copy: Any) -> None:
    folder, path = copy(name)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(MissingWeightsError, match="cannot be read") as caught:
        metrics.load(name, weights=folder)
    assert str(folder) in one_sentence(caught)


@pytest.mark.parametrize("name", FILES)
def test_wrong_shape_is_one_sentence(name: str, copy: Any) -> None:
    folder, path = copy(name)

    def widen(state: dict[str, torch.Tensor]) -> None:
        key = next(k for k in sorted(state) if k.endswith(("fc1.bias", "c_fc.bias", "bias")))
        state[key] = torch.zeros(len(state[key]) + 1)

    rewrite(path, widen)
    with pytest.raises(MissingWeightsError, match="shape") as caught:
        metrics.load(name, weights=folder)
    one_sentence(caught)


def fail(*args: Any, **kwargs: Any) -> Any:
    raise OSError("offline")


@pytest.mark.parametrize("name", FILES)
def test_empty_folder_is_one_sentence(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.hub, "download_url_to_file", fail)  # the dreamsim package would fill the folder
    with pytest.raises(MissingWeightsError) as caught:
        metrics.load(name, weights=tmp_path)
    assert str(tmp_path) in one_sentence(caught)


def test_pickle_with_state_dict_gives_the_same_scores(copy: Any, loaded: Any, pictures: Any, prompts: Any) -> None:
    for name in ("hpsv2.1", "image_reward"):
        folder, path = copy(name)
        torch.save({"state_dict": load_file(path)}, path.with_suffix(".pt"))
        path.unlink()
        again = metrics.load(name, weights=path.with_suffix(".pt"))
        assert torch.equal(again.score(pictures, prompts), loaded[name].score(pictures, prompts))
        shutil.rmtree(folder)


class Evil:
    def __reduce__(self) -> Any:
        return (print, ("executed",))


def test_pickles_with_code_are_not_executed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for zipped in (True, False):
        torch.save({"a": Evil()}, tmp_path / "x.pt", _use_new_zipfile_serialization=zipped)
        with pytest.raises(MissingWeightsError, match="cannot be read"):
            files.read_state(tmp_path / "x.pt")
    assert "executed" not in capsys.readouterr().out


def test_not_a_state_dict(tmp_path: Path) -> None:
    torch.save([1, 2], tmp_path / "x.pt")
    with pytest.raises(MissingWeightsError, match="state dict"):
        files.read_state(tmp_path / "x.pt")


def test_half_precision_files_are_computed_in_float32(copy: Any, loaded: Any, pictures: Any, prompts: Any) -> None:
    for name in ("hpsv2.1", "image_reward", "pickscore"):
        folder, path = copy(name)
        rewrite(path, lambda state: [state.update({k: v.half()}) for k, v in state.items() if v.is_floating_point()])
        half = metrics.load(name, weights=folder)
        values = half.score(pictures, prompts)
        assert values.dtype == torch.float32
        assert_close(values, loaded[name].score(pictures, prompts), 0.02)
        assert half.card.digest != loaded[name].card.digest


def test_unknown_path_and_offline_hub(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    import huggingface_hub

    monkeypatch.setattr(huggingface_hub, "snapshot_download", fail)
    monkeypatch.setattr(huggingface_hub, "hf_hub_download", fail)
    with pytest.raises(MissingWeightsError, match="do not exist"):
        metrics.load("pickscore", weights=tmp_path / "no" / "such" / "folder")
    with pytest.raises(
        MissingWeightsError, match="`hf download yuvalkirstain/PickScore_v1 --revision a4e4367c[0-9a-f]{32}`"
    ):
        metrics.load("pickscore")
    with pytest.raises(
        MissingWeightsError, match=r"`hf download xswu/HPSv2 HPS_v2.1_compressed.pt --revision 697403c7[0-9a-f]{32}`"
    ):
        metrics.load("hpsv2.1")
    with pytest.raises(MissingWeightsError, match=r"`hf download a/b c\.pt --revision main`"):
        metrics.load("image_reward", weights="a/b@main:c.pt")


def test_the_hub_cache_comes_first(monkeypatch: pytest.MonkeyPatch, weights: dict[str, Path], tmp_path: Path) -> None:
    import huggingface_hub

    from metrics.weights import hub

    asked: list[bool] = []

    def snapshot(repo: str, *, local_files_only: bool, **settings: Any) -> str:
        asked.append(local_files_only)
        return str(weights["pickscore"] if complete or not local_files_only else tmp_path)

    monkeypatch.setattr(huggingface_hub, "snapshot_download", snapshot)
    monkeypatch.setattr(hub, "_check_reachable", lambda: None)
    complete = True
    assert metrics.load("pickscore", weights="someone/model").card.source == "someone/model"
    assert asked == [True]
    complete = False  # a cached folder without weights: an interrupted download
    metrics.load("clip_score")
    assert asked == [True, True, False]


def test_offline_release_files(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(torch.hub, "download_url_to_file", fail)
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))
    for name in ("fid", "lpips"):
        with pytest.raises(MissingWeightsError, match=r"run `mkdir -p .* && curl -L -o .*\.pth https://") as caught:
            metrics.load(name)
        one_sentence(caught)


def test_labels(weights: dict[str, Path], loaded: Any) -> None:
    assert loaded["pickscore"].card.label == "own weights"
    assert loaded["image_reward"].card.label == "shapes"  # from the file's metadata
    asked = metrics.load("pickscore", weights=weights["pickscore"], label="mine")
    assert asked.card.title == "PickScore (mine)"
    assert asked.card.digest == loaded["pickscore"].card.digest


def test_published_weights_are_recognised_by_digest() -> None:
    facts = metrics.info("pickscore")
    request = metrics.Request(weights="copy", label="mine")
    assert files.label_for(facts, request, {"model.safetensors": facts.sha256[0]}) is None
    assert files.label_for(facts, request, {"model.safetensors": "0" * 64}) == "mine"
    default = metrics.Request()
    assert files.label_for(facts, default, {"model.safetensors": facts.sha256[0]}) is None
    assert files.label_for(facts, default, {"model.safetensors": "0" * 64}) == "own weights"  # changed upstream
    clip = metrics.info("clip_score")  # no digest known: the name decides
    assert files.label_for(clip, default, {}) is None
    assert files.label_for(clip, metrics.Request(weights="openai/clip-vit-large-patch14@main"), {}) is None
    assert files.label_for(clip, request, {}) == "mine"


def test_wrong_hps_version_is_refused(weights: dict[str, Path]) -> None:
    with pytest.raises(MissingWeightsError, match=r"use the metric hpsv2\.1"):
        metrics.load("hpsv2", weights=weights["hpsv2.1"] / FILES["hpsv2.1"])


def test_hps_without_config_must_be_vit_h(copy: Any) -> None:
    folder, _ = copy("hpsv2.1")
    (folder / "open_clip_config.json").unlink()
    with pytest.raises(MissingWeightsError, match="width of 32 is not the configured 1280"):
        metrics.load("hpsv2.1", weights=folder)


def test_tokenizer_of_another_size_is_refused(copy: Any) -> None:
    folder, _ = copy("hpsv2.1")
    (folder / "bpe_simple_vocab.txt.gz").unlink()
    with pytest.raises(MissingWeightsError, match=r"bpe_simple_vocab\.txt\.gz"):
        metrics.load("hpsv2.1", weights=folder)
    folder, _ = copy("image_reward")
    with (folder / "vocab.txt").open("a") as stream:
        stream.write("one\ntwo\nthree\n")
    with pytest.raises(MissingWeightsError, match="do not belong together"):
        metrics.load("image_reward", weights=folder)


def test_loading_leaves_the_random_state_alone(weights: dict[str, Path]) -> None:
    for name, folder in weights.items():
        torch.manual_seed(7)
        metrics.load(name, weights=folder)
        found = torch.rand(3)
        torch.manual_seed(7)
        assert torch.equal(found, torch.rand(3)), name


def test_device_that_is_not_here(weights: dict[str, Path]) -> None:
    with pytest.raises(MissingWeightsError, match="not available on this machine"):
        metrics.load("pickscore", weights=weights["pickscore"], device="cuda:63")
    with pytest.raises(metrics.MetricError, match="unknown"):
        metrics.load("pickscore", weights=weights["pickscore"], device="gpu")
