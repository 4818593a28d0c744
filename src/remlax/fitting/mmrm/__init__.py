"""Mixed models for repeated measures: formula, visits, moments and fits."""
