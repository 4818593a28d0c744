"""Methods of studies for all replications at once, in JAX."""
