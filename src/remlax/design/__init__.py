"""remlax.design."""
