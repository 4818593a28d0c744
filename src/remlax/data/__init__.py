"""Imputed data sets, and small data sets for examples."""

from . import datasets as datasets
from .imputed import ImputedData as ImputedData

__all__ = ["ImputedData", "datasets"]
