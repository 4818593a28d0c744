"""Random terms whose covariance matrix has a structure: diag, cs, ar1."""
