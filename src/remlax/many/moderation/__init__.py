"""Moderated residual variances of many responses: the prior, robust or not, and the tables."""
