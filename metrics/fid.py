"""FID (Heusel et al. 2017, arXiv 1706.08500): Frechet distance of Inception features, from mergeable moments."""

from __future__ import annotations

from pathlib import Path

from metrics.frechet import frechet_distance
from metrics.images import Images
from metrics.inception import InceptionMetric
from metrics.moments import Moments


class FID(InceptionMetric[Moments]):
    """Frechet distance of two sets of images; 0 is equal, lower is nearer. Biased upwards for few images."""

    def statistics(self, images: Images) -> Moments:
        """Count, mean and scatter of the features, in float64; shards are added (`a + b`)."""
        return Moments.of(self.inception(self, images), self.backbone)

    def read_statistics(self, path: Path | str) -> Moments:
        """Statistics from an .npz file; BadInputError if the file is something else."""
        return Moments.read(path)

    def distance(self, a: Moments, b: Moments) -> float:
        """FID, at least 0; NaN if one side has fewer than two images. BadInputError if the networks differ."""
        a + b  # refuses statistics of different networks
        return frechet_distance(a, b)

    def notes(self, n: int | None = None) -> list[str]:
        """Warns where `n` images are too few for a full covariance."""
        width = int(self.inception.settings["features"])
        found = super().notes(n)
        if n is not None and n < width + 1:
            found.append(
                f"FID over {n} images is biased upwards: {width} features need at least {width + 1} images for a full "
                "covariance; compare only with FID over equally many images"
            )
        return found
