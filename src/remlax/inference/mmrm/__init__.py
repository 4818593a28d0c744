"""Inference about mixed models for repeated measures."""
