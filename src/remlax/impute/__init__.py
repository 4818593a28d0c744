"""Missing data: patterns, imputation and its diagnostics."""

from .derive import ClusterMean as ClusterMean
from .derive import cluster_mean as cluster_mean
from .emb import emb as emb
from .missing import add_missing as add_missing
from .patterns import fraction_missing as fraction_missing
from .patterns import missing_flags as missing_flags
from .patterns import pattern_table as pattern_table
from .priors import CellPrior as CellPrior
from .result import ImputationResult as ImputationResult
