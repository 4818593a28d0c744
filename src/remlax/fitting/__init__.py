"""Where rows become a stack and a stack becomes estimates: the room between design and core on one side, results on the other."""
