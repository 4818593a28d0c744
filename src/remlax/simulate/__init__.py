"""remlax.simulate."""
