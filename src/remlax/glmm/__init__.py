"""Kernels of generalised linear mixed models: one data set, pure JAX."""
