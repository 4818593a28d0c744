"""Inference about fitted models: degrees of freedom, covariances, profiles, likelihoods."""
