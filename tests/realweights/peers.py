"""What the peers' packages make of features: `python peers.py FEATURES.npz` with them on the path; prints JSON."""

from __future__ import annotations

import json
import sys
import warnings

import numpy as np

warnings.simplefilter("ignore")


def main() -> None:
    """Precision, recall, density, coverage (prdc) and the Vendi score (vendi_score) of `a` against `b`."""
    from prdc import compute_prdc
    from vendi_score import vendi

    saved = np.load(sys.argv[1])
    first, second = saved["a"].astype(np.float64), saved["b"].astype(np.float64)
    found = {key: float(value) for key, value in compute_prdc(second, first, nearest_k=5).items()}
    unit = first / np.linalg.norm(first, axis=1, keepdims=True)
    found["vendi"] = float(vendi.score_K(unit @ unit.T))
    print(json.dumps(found))


if __name__ == "__main__":
    main()
