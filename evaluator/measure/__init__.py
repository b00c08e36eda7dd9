"""From rows of predictions or segmentations to the two measured tables: metrics of groups, and gaps between them."""

from evaluator.measure.rows import measure_predictions, measure_segmentations
from evaluator.measure.settings import CONVENTIONS, MeasureSettings, ResultKeys
from evaluator.measure.tables import Measurement

__all__ = [
    "CONVENTIONS",
    "MeasureSettings",
    "Measurement",
    "ResultKeys",
    "measure_predictions",
    "measure_segmentations",
]
