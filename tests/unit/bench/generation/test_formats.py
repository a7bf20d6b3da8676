"""Image files of any format: what is taken, what is noted on every value, what is refused; EXIF turns the pixels."""

from __future__ import annotations

import io
import logging
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from bench.errors import UsageError
from bench.generation.external import take_images
from bench.generation.formats import kind_of, png_of
from bench.store.images import decode
from bench.store.run_store import RunStore
from bench.suite.load import load_suite
from prompts import Prompt

PROMPTS = [Prompt("a", "a red circle"), Prompt("b", "a blue star")]


def picture(seed: int, size: tuple[int, int] = (24, 16)) -> Image.Image:
    pixels = np.random.default_rng(seed).integers(0, 256, (4, 6, 3), dtype=np.uint8)
    return Image.fromarray(pixels).resize(size, Image.Resampling.BICUBIC)


def bytes_of(image: Image.Image, found: str, **options: Any) -> bytes:
    stream = io.BytesIO()
    image.save(stream, found, **options)
    return stream.getvalue()


def turned(found: str) -> bytes:
    exif = Image.Exif()
    exif[0x0112] = 6
    return bytes_of(picture(3), found, exif=exif)


def folder_of(folder: Path, files: dict[str, bytes]) -> Path:
    for name, data in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(data)
    return folder


def take(folder: Path, tmp_path: Path, prompts: list[Prompt] | None = PROMPTS, **options: Any) -> RunStore:
    return take_images(folder, prompts, load_suite("shapes"), "mine", tmp_path / "results", **options)


def facts(store: RunStore) -> dict[str, Any]:
    found: dict[str, Any] = store.manifest().resolved_method["images"]
    return found


@pytest.mark.parametrize(
    ("data", "found", "lossy", "animated"),
    [
        (bytes_of(picture(0), "PNG"), "PNG", False, False),
        (bytes_of(picture(0), "JPEG"), "JPEG", True, False),
        (bytes_of(picture(0), "WEBP"), "WEBP", True, False),
        (bytes_of(picture(0), "WEBP", lossless=True), "WEBP", False, False),
        (bytes_of(picture(0), "WEBP", lossless=True, icc_profile=b"VP8 " * 100), "WEBP", False, False),
        (bytes_of(picture(0), "AVIF"), "AVIF", True, False),
        (bytes_of(picture(0), "TIFF"), "TIFF", False, False),
        (bytes_of(picture(0), "TIFF", compression="jpeg"), "TIFF", True, False),
        (bytes_of(picture(0), "BMP"), "BMP", False, False),
        (bytes_of(picture(0), "GIF"), "GIF", True, False),
        (bytes_of(picture(0), "GIF", save_all=True, append_images=[picture(1)]), "GIF", True, True),
        (bytes_of(picture(0), "PNG", save_all=True, append_images=[picture(1)]), "PNG", False, True),
        (bytes_of(picture(0), "WEBP", save_all=True, append_images=[picture(1)], lossless=True), "WEBP", False, True),
        (b"hello", "", False, False),
    ],
)
def test_kinds_come_from_the_bytes(data: bytes, found: str, lossy: bool, animated: bool) -> None:
    kind = kind_of(data, ".png")
    assert (kind.format, kind.lossy, kind.animated) == (found, lossy, animated)


def test_png_is_kept_byte_for_byte_and_others_by_their_pixels() -> None:
    data = bytes_of(picture(0), "PNG")
    assert png_of(data, kind_of(data, ".png")) == data
    for found, options in (("WEBP", {"lossless": True}), ("TIFF", {}), ("BMP", {}), ("JPEG", {"quality": 90})):
        other = bytes_of(picture(0), found, **options)
        kept = decode(png_of(other, kind_of(other, ".x")))
        assert not isinstance(kept, str)
        with Image.open(io.BytesIO(other)) as opened:
            assert np.array_equal(np.asarray(kept), np.asarray(opened))
    cmyk = bytes_of(picture(0).convert("CMYK"), "JPEG")
    kept = decode(png_of(cmyk, kind_of(cmyk, ".jpg")))
    assert not isinstance(kept, str)
    assert kept.mode == "RGB"


@pytest.mark.parametrize("found", ["PNG", "JPEG", "WEBP", "TIFF"])
def test_an_orientation_turns_the_pixels(found: str) -> None:
    data = turned(found)
    kind = kind_of(data, f".{found.lower()}")
    assert kind.turned
    kept = decode(png_of(data, kind))
    assert not isinstance(kept, str)
    assert kept.size == (16, 24)
    assert not kept.getexif()


def test_a_turned_image_is_noted_and_another_run(tmp_path: Path) -> None:
    store = take(
        folder_of(tmp_path / "x", {"a/0.png": turned("PNG"), "b/0.png": bytes_of(picture(1), "PNG")}), tmp_path
    )
    assert facts(store)["notes"] == ["1 of 2 images are turned upright by their EXIF orientation"]
    with Image.open(store.image_path("a", 0)) as kept:
        assert kept.size == (16, 24)
    with Image.open(tmp_path / "x" / "b" / "0.png") as opened:
        assert np.array_equal(np.asarray(opened), np.asarray(Image.open(store.image_path("b", 0))))


def test_lossy_images_need_leave_and_are_noted(tmp_path: Path) -> None:
    folder = folder_of(
        tmp_path / "x", {"a/0.jpg": bytes_of(picture(0), "JPEG"), "b/0.avif": bytes_of(picture(1), "AVIF")}
    )
    with pytest.raises(UsageError, match=r"contains 2 images of these prompts as .avif, .jpg, .* pass --allow-lossy"):
        take(folder, tmp_path)
    assert not (tmp_path / "results").exists()
    found = facts(take(folder, tmp_path, allow_lossy=True))
    assert found["notes"] == [
        "2 of 2 images are AVIF and JPEG files, lossy: compression artefacts change scores",
    ]
    assert found["layout"] == "folders"
    assert found["first"] == ["a/0.jpg = sample 0 of a ('a red circle')", "b/0.avif = sample 0 of b ('a blue star')"]


def test_jpeg_under_the_name_of_png(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    folder = folder_of(
        tmp_path / "x", {"a/0.png": bytes_of(picture(0), "JPEG"), "b/0.png": bytes_of(picture(1), "WEBP")}
    )
    with pytest.raises(UsageError, match=r"a/0.png and 1 more are called .png, but contain JPEG data, which is lossy"):
        take(folder, tmp_path)
    with caplog.at_level(logging.INFO):
        take(folder, tmp_path, allow_lossy=True)
    assert "2 files are called .png with bytes of another format (a/0.png is JPEG, b/0.png is WEBP)" in caplog.text


def test_animated_images_are_told(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    moving = bytes_of(picture(0), "PNG", save_all=True, append_images=[picture(1)])
    store = take(folder_of(tmp_path / "x", {"a/0.png": moving, "b/0.png": bytes_of(picture(1), "PNG")}), tmp_path)
    assert "1 animated image, of which the first frame is taken (a/0.png)" in caplog.text
    assert facts(store)["notes"] == ["of 1 of 2 images, which are animated, the first frame is scored"]


def test_a_thumbnail_beside_a_png_is_not_meant(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    png, jpeg = bytes_of(picture(0), "PNG"), bytes_of(picture(0), "JPEG")
    for options in ({}, {"allow_lossy": True}):
        store = take(folder_of(tmp_path / "x", {"a/0.png": png, "a/0.jpg": jpeg}), tmp_path, **options)
        assert facts(store)["notes"] == []
    assert "1 files are ignored: their names are of no prompt (a/0.jpg)" in caplog.text


def test_files_of_macos_and_links(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    png = bytes_of(picture(0), "PNG")
    folder = folder_of(tmp_path / "x", {"a/0.png": png, "a/._0.png": b"Mac OS X"})
    os.symlink("0.png", folder / "a" / "1.png")  # within the folder
    store = take(folder, tmp_path)
    assert sorted(row.key for row in store.images()) == [("a", 0), ("a", 1)]
    assert "1 file of macOS skipped (a/._0.png)" in caplog.text
    folder_of(tmp_path / "secret", {"0.png": png})
    os.symlink(tmp_path / "secret" / "0.png", folder / "a" / "2.png")
    with pytest.raises(UsageError, match=r"a/2.png is a symbolic link that leaves .*: copy what it points to"):
        take(folder, tmp_path)
    (folder / "a" / "2.png").unlink()
    os.symlink(tmp_path / "secret", folder / "b")
    with pytest.raises(UsageError, match="b is a symbolic link that leaves"):
        take(folder, tmp_path)
    (folder / "b").unlink()
    os.symlink("3.png", folder / "a" / "3.png")
    with pytest.raises(UsageError, match="a/3.png is a symbolic link that leads back to itself: remove it"):
        take(folder, tmp_path)


def test_tags_that_were_added_later_are_taken(tmp_path: Path) -> None:
    folder = folder_of(tmp_path / "x", {"a/0.png": bytes_of(picture(0), "PNG")})
    store = take(folder, tmp_path)
    manifest = store.manifest()
    manifest.status = "complete"
    store.write_manifest(manifest)
    again = take(folder, tmp_path, [Prompt("a", "a red circle", ("new",)), PROMPTS[1]])
    assert again.path == store.path
    assert [prompt["tags"] for prompt in again.manifest().prompts] == [["new"], []]
    assert again.manifest().complete


def test_images_without_prompts_stand_for_themselves(tmp_path: Path) -> None:
    png = bytes_of(picture(0), "PNG")
    store = take(folder_of(tmp_path / "x", {"deep/er/1.png": png, "0.PNG": png, "note.txt": b""}), tmp_path, None)
    assert [row.key for row in store.images()] == [("image-000001", 0), ("image-000002", 0)]
    with pytest.raises(UsageError, match="contains no image"):
        take(folder_of(tmp_path / "y", {"note.txt": b""}), tmp_path, None)
    with pytest.raises(UsageError, match="y contains no image$"):
        take(tmp_path / "y", tmp_path, PROMPTS)
    with pytest.raises(UsageError, match=r"note.txt is a file, not a folder: unpack an archive"):
        take(tmp_path / "y" / "note.txt", tmp_path, PROMPTS)
    with pytest.raises(UsageError, match="--images .*none does not exist"):
        take(tmp_path / "none", tmp_path, PROMPTS)


def test_reasons_hold_no_memory_address() -> None:
    assert decode(b"hello") == "it cannot be decoded (it is no image file)"
    assert decode(b"") == "it cannot be decoded (the file is empty)"
    cut = decode(bytes_of(picture(0), "PNG")[:60])
    assert isinstance(cut, str)
    assert "0x" not in cut
