"""Where rows become a stack and a stack becomes estimates: between design and core on one side, results on the other."""
