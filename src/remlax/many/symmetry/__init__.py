"""Designs whose levels can be exchanged: a basis in which the covariance has small blocks, and fits in it."""
