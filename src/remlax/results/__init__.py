"""remlax.results."""
