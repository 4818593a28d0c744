"""Simulation studies: data, amputation, methods over many replications, blocks on disk, performance."""
