"""Tables of estimates, tests and means, as functions over a selection of fits."""
