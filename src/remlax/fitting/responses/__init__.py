"""Responses of generalised linear mixed models: family, numbers, and whether a maximum exists."""
