"""Clusters in clusters: formulas, arrays and chains of the joint model's third level."""
