"""FID (Heusel et al. 2017, arXiv 1706.08500): Frechet distance of Inception features, from mergeable moments.

The resize of the images moves FID by far more than rounding, so each published convention is a metric of its own name.
"""

from __future__ import annotations

from metrics.networks.resize import ANTIALIASED, CLEAN
from metrics.set.inception import InceptionMetric
from metrics.set.kinds import FrechetMetric
from metrics.set.moments import Moments


class FID(InceptionMetric[Moments], FrechetMetric):
    """Frechet distance of Inception features, with torch-fidelity's resize; 0 is equal, lower is nearer."""


class CleanFID(FID):
    """FID with clean-fid's resize (mode "clean": Parmar et al. 2022, arXiv 2104.11222) on torch-fidelity's network."""

    convention = CLEAN


class TorchmetricsFID(FID):
    """FID with the antialiased resize that is torchmetrics' default since it has the option (1.9), same network."""

    convention = ANTIALIASED
