"""What can go wrong in `metrics`, each as one sentence for the user."""

from typing import ClassVar


class MetricError(Exception):
    """A user mistake or a missing thing; `str(error)` is one sentence that says what, where and what to do."""

    exit_code: ClassVar[int] = 2


class UnknownMetricError(MetricError):
    """A metric name (or an option of a metric) that does not exist."""


class BadInputError(MetricError):
    """Images, prompts or statistics that a metric cannot take."""


class MissingWeightsError(MetricError):
    """Weights, a package or a device that is needed is absent or damaged."""

    exit_code: ClassVar[int] = 4
