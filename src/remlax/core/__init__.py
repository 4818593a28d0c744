"""remlax.core."""
