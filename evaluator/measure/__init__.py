"""From rows of predictions or segmentations to the two measured tables: metrics of groups, and gaps between them."""

from evaluator.measure.predictions import measure_predictions
from evaluator.measure.segmentations import measure_segmentations
from evaluator.measure.settings import MeasureSettings, ResultKeys
from evaluator.measure.several import macro_average
from evaluator.measure.tables import Measurement

__all__ = [
    "MeasureSettings",
    "Measurement",
    "ResultKeys",
    "macro_average",
    "measure_predictions",
    "measure_segmentations",
]
