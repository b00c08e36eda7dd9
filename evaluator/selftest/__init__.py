"""The evaluator tests itself on people whose truth is known: coverage of intervals, level of tests, bias of gaps.

``make calibrate`` runs :func:`~evaluator.selftest.program.program` and writes the answers; the tests run a part of it.
"""

from evaluator.selftest.findings import Finding
from evaluator.selftest.program import program
from evaluator.selftest.running import Job, run_studies

__all__ = ["Finding", "Job", "program", "run_studies"]
