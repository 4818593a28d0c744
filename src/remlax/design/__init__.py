"""Formulas, and data frames read by them into labelled columns."""
