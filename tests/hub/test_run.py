"""Whole runs with weights from a hub, in the layouts in which checkpoints are published."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import LoraConfig
from peft.utils import get_peft_model_state_dict
from safetensors.torch import save_file

from bench.models.loading import quiet
from bench.models.weights import digest_of
from bench.pipeline import run as pipeline
from bench.suite.schema import Suite
from tests.hub.server import Hub
from tests.unit.bench.models.families import FAMILIES, family_pipeline, scheduler_of, tiny_network
from tests.unit.bench.models.tiny import RESOLUTION, tiny_pipeline, tiny_suite, tiny_unet

PROMPTS = '{"id": "a", "text": "a red circle"}\n{"id": "b", "text": "a blue square"}\n'
CODE = {"pipeline.py": b"raise SystemExit('code of a repository was run')", "unet/model.bin": b"\x80pickle"}
LORA = LoraConfig(r=2, lora_alpha=4, target_modules=["to_q", "to_k", "to_v", "to_out.0"], init_lora_weights=False)


def files_in(folder: Path, under: str = "") -> dict[str, bytes]:
    found = sorted(path for path in folder.rglob("*") if path.is_file())
    return {under + path.relative_to(folder).as_posix(): path.read_bytes() for path in found}


def lora_folder(folder: Path, layout: str) -> Path:
    """A LoRA in diffusers' layout (one file) or PEFT's (file and settings)."""
    folder.mkdir()
    model = tiny_unet(3)
    torch.manual_seed(4)
    model.add_adapter(LORA, "x")
    state = get_peft_model_state_dict(model, adapter_name="x")
    if layout == "diffusers":
        named = {f"unet.{key}": value.contiguous() for key, value in state.items()}
        save_file(named, folder / "pytorch_lora_weights.safetensors")
    else:
        named = {f"base_model.model.{key}": value.contiguous() for key, value in state.items()}
        save_file(named, folder / "adapter_model.safetensors")
        LORA.save_pretrained(str(folder))
    return folder


@pytest.fixture(scope="module")
def local(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Everything that the hub of these tests serves, as a user would have it on disk."""
    root = tmp_path_factory.mktemp("published")
    with torch.random.fork_rng(devices=[]), quiet():
        tiny_pipeline(root / "base")
        for name, seed in (("imagerefl", 5), ("dpo", 6), ("file", 7)):
            tiny_unet(seed).save_pretrained(root / name)
        lora_folder(root / "lora", "diffusers")
        lora_folder(root / "peft", "peft")
    return {path.name: path for path in root.iterdir()}


HUB_NAMES = {
    "base": "owner/base",
    "imagerefl": "ControlGenAI/ImageReFL_HPS_SD:fine_tuned_unet",
    "dpo": "mhdang/dpo-sd1.5-text2image-v1:unet",
    "lora": "SPO-Diffusion-Models/SPO-SD-v1-5_4k-p_10ep_LoRA",
    "peft": "owner/peft",
    "file": "owner/file:diffusion_pytorch_model.safetensors",
}


def publish(hub: Hub, local: dict[str, Path]) -> None:
    hub.add("owner/base", {**files_in(local["base"]), **CODE})
    two_networks = {
        "model_index.json": json.dumps(
            {
                "_class_name": ["pipeline", "CombinedPipeline"],
                "original_unet": ["diffusers", "UNet2DConditionModel"],
                "fine_tuned_unet": ["diffusers", "UNet2DConditionModel"],
                "vae": ["diffusers", "AutoencoderKL"],
            }
        ).encode(),
        **files_in(local["base"] / "unet", "original_unet/"),
        **files_in(local["imagerefl"], "fine_tuned_unet/"),
        **files_in(local["base"] / "vae", "vae/"),
        **CODE,
    }
    hub.add("ControlGenAI/ImageReFL_HPS_SD", two_networks)
    hub.add("mhdang/dpo-sd1.5-text2image-v1", {**files_in(local["dpo"], "unet/"), **CODE})
    hub.add("SPO-Diffusion-Models/SPO-SD-v1-5_4k-p_10ep_LoRA", {**files_in(local["lora"]), "README.md": b"about"})
    hub.add("owner/peft", {**files_in(local["peft"]), "training_args.bin": b"\x80pickle"})
    hub.add("owner/file", files_in(local["file"]))


def suite(names: dict[str, str], prompts: Path) -> Suite:
    data: dict[str, Any] = {
        "name": "served",
        "label": "tiny",
        "model": {"family": "sd", "weights": names["base"]},
        "prompts": str(prompts),
        "samples": 1,
        "sampler": {"scheduler": "DDPMScheduler", "steps": 4},
        "resolution": RESOLUTION,
        "guidance": 2.0,
        "methods": {
            "imagerefl": {"weights": names["imagerefl"], "switch_step": 2},
            "dpo": {"weights": names["dpo"]},
            "spo": {"weights": names["lora"]},
            "peft": {"like": "refl", "weights": names["peft"]},
            "file": {"like": "refl", "weights": names["file"]},
        },
        "metrics": {"attribute_accuracy": {}},
    }
    return Suite.model_validate(data)


METHODS = ["base", "imagerefl", "dpo", "spo", "peft", "file"]


def test_every_published_layout_runs_from_the_hub_as_from_disk(
    hub: Hub, local: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, pixels: Any
) -> None:
    from huggingface_hub import constants

    publish(hub, local)
    prompts = tmp_path / "prompts.jsonl"
    prompts.write_text(PROMPTS)
    on_disk = {name: str(path) for name, path in local.items()}
    on_disk["file"] += "/diffusion_pytorch_model.safetensors"
    pipeline.run(suite(on_disk, prompts), METHODS, results=tmp_path / "disk")
    pipeline.run(suite(HUB_NAMES, prompts), METHODS, results=tmp_path / "hub")
    assert not [file for _, _, file in hub.asked if file.endswith((".py", ".bin"))]
    assert not [file for file in hub.fetched() if file.startswith(("original_unet/", "vae/")) and "vae/" not in file]
    for name, spec in HUB_NAMES.items():
        assert digest_of(spec) == digest_of(on_disk[name])
    made = pixels(tmp_path / "hub")
    assert made == pixels(tmp_path / "disk")  # the same run folders, named by digests, with the same pictures
    assert len({tuple(v for k, v in made.items() if f"/{name}@" in f"/{k}") for name in METHODS}) == len(METHODS)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    hub.asked.clear()
    pipeline.run(suite(HUB_NAMES, prompts), METHODS, results=tmp_path / "offline")
    assert hub.asked == []
    assert pixels(tmp_path / "offline") == made


@pytest.mark.parametrize("family", FAMILIES[1:])
def test_a_pipeline_of_every_family_arrives_whole(hub: Hub, tmp_path: Path, family: str) -> None:
    """Also with what their repositories hold besides: pickles, code, half-precision twins, files for other programs."""
    from bench.models.load import load_model
    from bench.models.weights import resolve

    with torch.random.fork_rng(devices=[]):
        folder = family_pipeline(family, tmp_path / "disk")
        tiny_network(family, 5).save_pretrained(tmp_path / "tuned")
    files, network = files_in(folder), "unet" if family == "sdxl" else "transformer"
    [weights] = [name for name in files if name.startswith(f"{network}/") and name.endswith(".safetensors")]
    junk = {
        "flux1-dev.safetensors": b"1",
        "text_encoders/t5xxl.safetensors": b"2",
        weights.replace(".safetensors", ".fp16.safetensors"): b"3",
        f"{network}/old.bin": b"4",
        "safety_checker/model.safetensors": b"5",
    }
    hub.add("owner/base", {**files, **junk, **CODE})
    tuned = files_in(tmp_path / "tuned")
    hub.add("owner/tuned", {**tuned, "optimizer.pt": b"6"})
    hub.add("owner/steps", {f"checkpoint-300-0/{name}": data for name, data in tuned.items()})
    assert digest_of("owner/base") == digest_of(str(folder))
    assert not hub.fetched() & set(junk)
    specs = (
        "owner/tuned",
        "owner/tuned:diffusion_pytorch_model.safetensors",
        "owner/steps:checkpoint-300-0",
    )
    model = load_model(resolve("owner/base"), tiny_suite_of(family))
    for name in specs:
        model.add_network(name, resolve(name))
    assert set(model.networks) == {"base", *specs}
    assert not [file for _, _, file in hub.asked if file.endswith((".py", ".bin", ".pt"))]


def tiny_suite_of(family: str) -> Any:
    found = tiny_suite(scheduler_of(family))
    found.model.family = family
    return found


@pytest.mark.skipif(shutil.which("unshare") is None, reason="no unshare on this system")
def test_a_disk_that_fills_up(served: Hub, bench_command: Any, tmp_path: Path) -> None:
    served.add("owner/large", {"config.json": b"{}", "model.safetensors": bytes(1 << 20)})
    if subprocess.run(["unshare", "-rm", "true"], capture_output=True, check=False).returncode:
        pytest.skip("unshare -rm is not permitted here")
    (tmp_path / "home").mkdir()
    script = 'mount -t tmpfs -o size=256k tmpfs "$HF_HOME" || exit 77; exec "$@"'
    command = bench_command.command("run", "--method", "refl", "--set", "weights=owner/large")
    environment = bench_command.environment(**environment_of(served, tmp_path / "home"))
    done = subprocess.run(
        ["unshare", "-rm", "bash", "-c", script, "bash", *command],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        timeout=120,
    )
    if done.returncode == 77:
        pytest.skip(f"cannot mount a tmpfs here: {done.stderr.strip()}")
    assert done.returncode == 4, done.stderr
    assert f"the disk of {tmp_path / 'home' / 'hub'} is full: free some space, or set HF_HOME" in done.stderr
    assert "Traceback" not in done.stderr


def environment_of(served: Hub, home: Path) -> dict[str, str]:
    """What turns the hub's client of a child process towards this hub, with a cache of its own."""
    settings = {"HF_ENDPOINT": served.endpoint, "HF_HOME": str(home), "HF_HUB_OFFLINE": "0", "HF_HUB_DISABLE_XET": "1"}
    return settings | {"HF_HUB_CACHE": str(home / "hub"), "no_proxy": "*", "NO_PROXY": "*"}


def manifest_of(results: Path, method: str) -> dict[str, Any]:
    [path] = results.glob(f"runs/served/{method}@*/manifest.json")
    return json.loads(path.read_text())


@pytest.mark.slow
def test_the_command_line_fetches_marks_and_refuses(
    served: Hub, local: dict[str, Path], bench_command: Any, error_of: Any, tmp_path: Path
) -> None:
    publish(served, local)
    (tmp_path / "prompts.jsonl").write_text(PROMPTS)
    toml = tmp_path / "served.toml"
    toml.write_text(
        f'name = "served"\nlabel = "tiny"\nprompts = "prompts.jsonl"\nsamples = 1\nresolution = {RESOLUTION}\n'
        'guidance = 2.0\n[model]\nfamily = "sd"\nweights = "owner/base"\n'
        '[sampler]\nscheduler = "DDPMScheduler"\nsteps = 4\n[metrics.attribute_accuracy]\n'
    )
    environment = environment_of(served, tmp_path / "home")
    common = ["run", "--suite", toml, "--set", "switch_step=2"]
    weights = ["--set", f"weights={HUB_NAMES['imagerefl']}"]
    done = bench_command(*common, "--method", "imagerefl", *weights, **environment)
    assert "fetching owner/base from the hub" in done.stderr
    weights_name = "imagerefl-switch_step-2-weights-ControlGenAI-ImageReFL_HPS_SD-fine_tuned_unet"
    assert manifest_of(tmp_path / "results", weights_name)["trained_on"] == ["hpsv2.1"]
    assert not [file for _, _, file in served.asked if file.endswith((".py", ".bin"))]
    gone = error_of(4, *common, "--method", "imagerefl", "--set", "weights=owner/none:unet", **environment)
    assert "no public repository owner/none on the hub: check the name" in gone
    pinned = f"weights={HUB_NAMES['dpo']}#sha256={'1' * 64}"
    other = error_of(4, "run", "--suite", toml, "--method", "dpo", "--set", pinned, **environment)
    assert f"expected {'1' * 64}" in other
