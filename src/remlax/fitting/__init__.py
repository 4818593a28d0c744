"""Where rows become a stack and a stack becomes estimates: between design and core, and results."""
