"""Images are verified against their recorded digest, decoded once, and by threads that end."""

from __future__ import annotations

import hashlib
import io
import struct
import threading
import warnings
import zlib
from concurrent.futures import Future
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from bench.scoring.reader import reading
from bench.store.images import decode, image_size, read_image
from metrics.images import MAX_PIXELS


def png(width: int = 12, height: int = 9, mode: str = "RGB") -> bytes:
    pixels = np.random.default_rng(width).integers(0, 256, (height, width, 3), dtype=np.uint8)
    stream = io.BytesIO()
    Image.fromarray(pixels).convert(mode).save(stream, format="PNG")
    return stream.getvalue()


def claims(width: int, height: int) -> bytes:
    """A valid head of a PNG file, and next to nothing behind it."""

    def chunk(name: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    head = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + head + chunk(b"IDAT", zlib.compress(b"\0" * 50)) + chunk(b"IEND", b"")


def written(folder: Path, data: bytes, name: str = "0.png") -> tuple[Path, str]:
    path = folder / name
    path.write_bytes(data)
    return path, hashlib.sha256(data).hexdigest()


def reader_threads() -> list[str]:
    return [thread.name for thread in threading.enumerate() if thread.name.startswith("bench-read")]


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "P", "L", "1"])
def test_an_image_comes_in_its_own_mode(mode: str, tmp_path: Path) -> None:
    """ImageReward resizes a palette or an alpha channel before it makes RGB of it: nothing may convert earlier."""
    data = png(mode=mode)
    path, sha256 = written(tmp_path, data)
    with reading() as reader:
        found = reader.image(path, sha256).result()
    assert not isinstance(found, str)
    assert found.mode == mode
    with Image.open(io.BytesIO(data)) as wanted:
        assert found.tobytes() == wanted.tobytes()
        assert found.getpalette() == wanted.getpalette()


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (None, "missing"),
        (b"hello", "not a PNG file"),
        (png()[:-20], "truncated"),
        (png(13), "foreign"),
    ],
)
def test_a_file_that_is_not_the_recorded_one_is_not_used(data: bytes | None, said: str, tmp_path: Path) -> None:
    path, sha256 = written(tmp_path, png())
    if data is None:
        path.unlink()
    else:
        path.write_bytes(data)
    with reading() as reader:
        found = reader.image(path, sha256).result()
        fault = reader.fault(path, sha256).result()
    assert isinstance(found, str)
    assert found.startswith(said)
    assert fault == found


def test_a_digest_says_nothing_about_being_an_image(tmp_path: Path) -> None:
    for data in (b"hello", png()[:-30], b""):
        path, sha256 = written(tmp_path, data)
        found = read_image(path, sha256)
        assert isinstance(found, str)
        assert found.startswith("it cannot be decoded (")


@pytest.mark.parametrize(
    ("size", "said"),
    [
        ((12_000, 9_000), f"it has 12000 x 9000 pixels, more than the {MAX_PIXELS:,} allowed"),
        ((60_000, 60_000), f"it has more pixels than the {MAX_PIXELS:,} allowed"),
    ],
)
def test_bombs_are_refused_by_their_head(size: tuple[int, int], said: str) -> None:
    data = claims(*size)
    assert len(data) < 200
    with reading():  # which silences PIL's own warning of a bomb
        assert decode(data) == said


def test_a_panorama_below_the_limit_is_decoded_without_a_warning(tmp_path: Path) -> None:
    """PIL warns from 89 million pixels on; the limit here is above."""
    path, sha256 = written(tmp_path, claims(20_000, 4_900))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with reading() as reader:
            found = reader.image(path, sha256).result()
            assert image_size(path) == (20_000, 4_900)
    assert isinstance(found, str)  # it is cut short, but that is the only fault
    assert found.startswith("it cannot be decoded")


def test_sizes_by_the_head_alone(tmp_path: Path) -> None:
    assert image_size(written(tmp_path, png(12, 9))[0]) == (12, 9)
    assert image_size(written(tmp_path, b"hello")[0]) is None
    assert image_size(written(tmp_path, claims(60_000, 60_000))[0]) is None
    assert image_size(tmp_path / "nothing.png") is None


def test_decoded_and_verified_are_counted(tmp_path: Path) -> None:
    path, sha256 = written(tmp_path, png())
    with reading() as reader:
        reader.fault(path, sha256).result()
        assert (reader.decoded, reader.verified) == (0, 1)
        reader.image(path, sha256).result()
        reader.image(path, sha256).result()
        assert (reader.decoded, reader.verified) == (2, 1)  # nothing is kept unless asked for


def test_images_are_kept_up_to_so_many_bytes(tmp_path: Path) -> None:
    files = [written(tmp_path, png(10 + k, 10), f"{k}.png") for k in range(3)]
    with reading() as reader:
        reader.keep(3 * 10 * 10 + 3 * 11 * 10)  # room for the first two
        for _ in range(2):
            for path, sha256 in files:
                assert not isinstance(reader.image(path, sha256).result(), str)
        assert reader.decoded == 4  # three, and the third again


def test_other_bytes_are_never_served_from_what_is_kept(tmp_path: Path) -> None:
    path, sha256 = written(tmp_path, png(12))
    with reading(1 << 20) as reader:
        first = reader.image(path, sha256).result()
        path, other = written(tmp_path, png(13))
        second = reader.image(path, other).result()
    assert not isinstance(first, str)
    assert not isinstance(second, str)
    assert (first.width, second.width) == (12, 13)


def test_the_threads_end_with_the_block(tmp_path: Path) -> None:
    path, sha256 = written(tmp_path, png())
    before = reader_threads()
    with reading() as reader:
        reader.image(path, sha256).result()
        assert reader.submit(lambda number: number + 1, 1).result() == 2
        assert len(reader_threads()) > len(before)
    assert reader_threads() == before


def test_the_threads_end_with_an_error_too() -> None:
    before = reader_threads()
    waiting: list[Future[bool]] = []

    def interrupted() -> None:
        with reading() as reader:
            waiting.extend(reader.submit(threading.Event().wait, 0.05) for _ in range(40))
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert reader_threads() == before
    assert sum(one.cancelled() for one in waiting) > 20  # what had not begun is not waited for


def test_work_does_not_wait_for_files(tmp_path: Path) -> None:
    """Preparing runs in threads of its own: else a queue of files that wait for it would stand still."""
    gate = threading.Event()
    with reading() as reader:
        slow = [reader._pool.submit(gate.wait, 5) for _ in range(16)]
        assert reader.submit(lambda number: number * 2, 4).result(timeout=5) == 8
        gate.set()
        assert all(one.result() for one in slow)
