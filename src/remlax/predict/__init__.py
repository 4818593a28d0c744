"""Predictions for rows of the data or of new data, as functions over a selection of fits."""
