"""Missing data: patterns, imputation and its diagnostics."""

from .missing import add_missing as add_missing
from .patterns import fraction_missing as fraction_missing
from .patterns import missing_flags as missing_flags
from .patterns import pattern_table as pattern_table
