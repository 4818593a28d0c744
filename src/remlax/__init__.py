"""Fit linear mixed models to many data sets at once by REML in JAX, and pool them."""

from ._version import __version__ as __version__
from .data import ImputedData as ImputedData
from .data import datasets as datasets
