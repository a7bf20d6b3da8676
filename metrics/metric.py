"""`make_card` under the name that plug-ins were told to use (docs/plugins.md); it lives in `metrics.base.metric`."""

from __future__ import annotations

from metrics.base.metric import make_card

__all__ = ["make_card"]
