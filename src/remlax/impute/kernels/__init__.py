"""Imputation kernels over arrays: pure functions for jit and vmap, without pandas."""

from .emb import all_patterns as all_patterns
from .emb import emb_impute as emb_impute
from .joint_chain import joint_impute as joint_impute
