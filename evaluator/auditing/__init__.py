"""Audits of any table of predictions: which columns are what, what they say about groups of people, and how certain that is.

Reading (:mod:`~evaluator.auditing.reading`), roles of columns (:mod:`~evaluator.auditing.roles`,
:mod:`~evaluator.auditing.problems`), parts to measure (:mod:`~evaluator.auditing.layout`), measuring
(:mod:`~evaluator.auditing.measuring`) and telling (:mod:`~evaluator.auditing.summary`, :mod:`~evaluator.auditing.limits`) are
separate; :func:`evaluator.audit` puts them together.
"""
