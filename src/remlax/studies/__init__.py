"""Simulation studies: their specification, folder, workers and tables."""
