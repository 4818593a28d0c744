"""Pure JAX, one data set at a time: cross-products, criterion, derivatives and what follows from an optimum."""
