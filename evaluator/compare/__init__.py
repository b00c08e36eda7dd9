"""From the tables of single results to those of many: paired comparisons, what holds across datasets, selection."""

from evaluator.compare.across import across
from evaluator.compare.analysis import Analysis, analyse
from evaluator.compare.comparisons import compare, tied
from evaluator.compare.selection import select

__all__ = ["Analysis", "across", "analyse", "compare", "select", "tied"]
