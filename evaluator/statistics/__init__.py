"""Uncertainty: bootstrap of subjects, gaps and their chance level, tests, multiplicity, claims."""
