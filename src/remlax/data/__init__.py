"""remlax.data."""
