"""remlax.pooling."""
