"""Reference-based imputation of trials: events, strategies, parameters of each imputation, analyses."""
