"""Pure JAX: the profiled criterion of one data set, and its batch over many. No pandas, no labels."""
