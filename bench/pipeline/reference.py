"""Statistics of one's own reference images in a file. `bench.make_reference` is `make_reference` here."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from bench.errors import UsageError, unknown
from bench.registry.plugins import load_plugins
from bench.runtime.devices import check_device, prepare_torch
from bench.suite.load import load_suite
from bench.suite.schema import Reference, Suite


def make_reference(
    images: Path | str,
    metric: str,
    out: Path | str,
    *,
    suite: Suite | str | Path = "images",
    split: str | None = None,
    column: str | None = None,
    device: str = "auto",
    plugins: Sequence[Path | str] = (),
) -> Path:
    """Write the statistics of reference images, as a set metric has them, to an .npz file. Does `bench reference make`.

    `images` is a folder, a zip, or a dataset ("datasets:owner/name", with `split` and `column`); `metric` is a set
    metric, whose weights are those of `suite` ("images": the published ones). The file says which network made it; of a
    Frechet distance it also holds `mu` and `sigma`, which other tools read. Returns its path.

    Raises UsageError (not a set metric, a file that exists, images that cannot be used) or MissingError (no images,
    weights absent).

    >>> import bench
    >>> images = next(RESULTS.glob("runs/*/*/images"))
    >>> bench.make_reference(images, "fid", OUT / "reference.npz", suite="shapes", device="cpu").name
    'reference.npz'
    """
    import metrics
    from bench.scoring.chunk import Tools
    from bench.scoring.feature_cache import FeatureCache
    from bench.scoring.metric_weights import load_metric
    from bench.scoring.reader import reading
    from bench.scoring.reference import statistics_of_images
    from bench.scoring.reference_files import files_of, is_statistics
    from bench.store.atomic import replacing

    load_plugins(plugins)
    check_device(device)
    out, reference = Path(out), Reference(kind="folder", path=str(images), split=split, column=column)
    chosen = (suite if isinstance(suite, Suite) else load_suite(suite)).override(metrics=[metric])
    facts = {name: metrics.info(name) for name in metrics.names()}
    sets = [name for name, one in facts.items() if one.kind == metrics.Kind.SET and one.reference]
    if metric not in sets:
        raise unknown("set metric", metric, sets)
    if is_statistics(reference):
        raise UsageError(f"{images} holds statistics already: name the images")
    if out.suffix != ".npz" or out.exists():
        why = "exists: choose another name, or remove it" if out.exists() else "must be called .npz"
        raise UsageError(f"--out {out} {why}")
    files_of(reference)  # what is wrong with the images is told before the network is loaded
    loaded = load_metric(metric, chosen.metrics[metric], prepare_torch(device), chosen.label)
    with reading() as reader:
        total = statistics_of_images(loaded, reference, Tools(reader, FeatureCache(None)))
    with replacing(out) as temporary:
        total.save(temporary)
    return out
