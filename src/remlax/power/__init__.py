"""Power of designs that are analysed by a linear mixed model: sizes, replications, tests, curves."""
