"""Small data sets for examples and tests, read from the installed package: no network."""

from .tables import dyestuff as dyestuff
from .tables import hsb as hsb
from .tables import hsb_imputed as hsb_imputed
from .tables import hsb_incomplete as hsb_incomplete
from .tables import sleepstudy as sleepstudy

__all__ = ["dyestuff", "hsb", "hsb_imputed", "hsb_incomplete", "sleepstudy"]
