"""remlax.plot."""
