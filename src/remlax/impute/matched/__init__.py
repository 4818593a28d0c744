"""Imputed values of the joint model taken from donors: predictive mean matching."""
