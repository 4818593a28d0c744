"""Missing data: patterns, imputation and its diagnostics."""

import typing as _typing

from ..names import unknown_in as _unknown_in
from .derive import ClusterMean as ClusterMean
from .derive import centred as centred
from .derive import cluster_mean as cluster_mean
from .derive import product as product
from .derive import scale_score as scale_score
from .diagnostics import density_table as density_table
from .diagnostics import icc_table as icc_table
from .diagnostics import intraclass_correlation as intraclass_correlation
from .diagnostics import level2_consistency as level2_consistency
from .diagnostics import observed_vs_imputed as observed_vs_imputed
from .diagnostics import observed_vs_imputed_shares as observed_vs_imputed_shares
from .diagnostics import quantile_table as quantile_table
from .emb import emb as emb
from .joint import joint as joint
from .joint_result import JointResult as JointResult
from .joint_run import JointPrior as JointPrior
from .overimpute import Overimputation as Overimputation
from .overimpute import overimpute as overimpute
from .patterns import add_missing as add_missing
from .patterns import fraction_missing as fraction_missing
from .patterns import missing_flags as missing_flags
from .patterns import pattern_table as pattern_table
from .priors import CellPrior as CellPrior
from .reference_based.reference import reference as reference
from .reference_based.result import ReferenceResult as ReferenceResult
from .result import ImputationResult as ImputationResult
from .within import ImputationWithin as ImputationWithin
from .within import JointWithin as JointWithin

# hidden from type checkers, for which it would make every name exist
if not _typing.TYPE_CHECKING:
    __getattr__ = _unknown_in(__name__)
