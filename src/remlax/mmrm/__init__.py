"""Kernels of the mixed model for repeated measures: one data set, pure JAX."""
