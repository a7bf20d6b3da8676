"""The arithmetic of the Vendi score: kernels, and the effective number of order q of a spectrum. All in float64.

Friedman and Dieng 2023, arXiv 2210.02410 (q = 1); Pasarkar and Dieng 2024, arXiv 2310.12952 (any order q): with the
eigenvalues l of K / n, VS_q = (sum l^q)^(1 / (1 - q)); q = 1 is the limit exp(-sum l log l), q = inf is 1 / max l.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from metrics.errors import MetricError

KERNELS = ("cosine", "rbf")
_NEAR_ONE = 0.5  # of q to 1: where the form without cancellation is used


def check_order(q: object) -> float:
    """The order as a float, q > 0 or infinity ("inf" as text too); MetricError in one sentence otherwise."""
    value = math.inf if q == "inf" else q
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not value > 0:
        raise MetricError(f"vendi: q = {q!r} is not an order: give a number above 0, or inf")
    return float(value)


def check_kernel(kernel: object, bandwidth: object) -> tuple[str, float | None]:
    """Kernel and bandwidth; MetricError in one sentence for an unknown kernel or a bandwidth that does not fit it."""
    if kernel not in KERNELS or not isinstance(kernel, str):
        raise MetricError(f"vendi: kernel {kernel!r} is not one of {', '.join(KERNELS)}")
    if kernel == "cosine":
        if bandwidth is not None:
            raise MetricError(f"vendi: the cosine kernel has no bandwidth ({bandwidth!r}): omit it, or use rbf")
        return kernel, None
    if isinstance(bandwidth, bool) or not isinstance(bandwidth, (int, float)) or not 0 < bandwidth < math.inf:
        raise MetricError(f"vendi: the rbf kernel needs a bandwidth above 0, not {bandwidth!r}")
    return kernel, float(bandwidth)


def kernel_matrix(embeddings: Tensor, kernel: str = "cosine", bandwidth: float | None = None) -> Tensor:
    """Similarities of rows [K, D], float64 [K, K], with ones on the diagonal.

    Rows are L2-normalised first. "cosine": x.y; "rbf": exp(-|x - y|^2 / (2 bandwidth^2)). MetricError otherwise.
    """
    kernel, width = check_kernel(kernel, bandwidth)
    rows = torch.nn.functional.normalize(embeddings.double(), dim=-1)
    if width is None:
        return rows @ rows.T
    distances = torch.cdist(rows, rows, compute_mode="donot_use_mm_for_euclid_dist")
    return torch.exp(-distances.square() / (2.0 * width**2))


def effective_number(eigenvalues: Tensor, q: float = 1.0) -> Tensor:
    """The effective number of order q of spectra [..., n] that sum to 1 -> float64 [...], in 1..n.

    Eigenvalues that are rounding (below n eps of the largest) count as 0: orders below 1 would blow them up.
    """
    order = check_order(q)
    values = eigenvalues.double()
    top = values.amax(dim=-1, keepdim=True)
    kept = values > top * values.shape[-1] * torch.finfo(torch.float64).eps
    values = torch.where(kept, values, 0.0)
    values = values / values.sum(dim=-1, keepdim=True)
    if math.isinf(order):
        return 1.0 / values.amax(dim=-1)
    logs = torch.where(kept, values, 1.0).log()
    if order == 1.0:
        return torch.exp(-(values * logs).sum(dim=-1))
    if abs(order - 1.0) < _NEAR_ONE:  # sum l^q = 1 + sum l (l^(q-1) - 1): no digits lost as q goes to 1
        total = torch.log1p((values * torch.expm1((order - 1.0) * logs)).sum(dim=-1))
    else:
        total = torch.where(kept, order * logs, -math.inf).logsumexp(dim=-1)
    return torch.exp(total / (1.0 - order))


def vendi_score(embeddings: Tensor, q: float = 1.0, kernel: str = "cosine", bandwidth: float | None = None) -> float:
    """The Vendi score of order q of rows [K, D], in 1..K; NaN for no rows. MetricError for wrong settings."""
    count, width = embeddings.shape
    order, (kernel, bandwidth) = check_order(q), check_kernel(kernel, bandwidth)
    if count == 0:
        return math.nan
    if kernel == "cosine" and count > width:
        # X X^T and X^T X have the same non-zero eigenvalues: take the smaller one
        rows = torch.nn.functional.normalize(embeddings.double(), dim=-1)
        matrix = rows.T @ rows
    else:
        matrix = kernel_matrix(embeddings, kernel, bandwidth)
    return effective_number(torch.linalg.eigvalsh(matrix / count), order).item()
