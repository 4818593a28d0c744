"""Shared test set-up: strict JAX promotion, a shared compilation cache, the reference folder."""

from __future__ import annotations

import os
from pathlib import Path

import jax

CACHE = Path(__file__).resolve().parent.parent / ".cache" / "jax"
CACHE.mkdir(parents=True, exist_ok=True)
os.environ.setdefault("JAX_COMPILATION_CACHE_DIR", str(CACHE))
jax.config.update("jax_compilation_cache_dir", str(CACHE))
jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.2)
jax.config.update("jax_numpy_dtype_promotion", "strict")
jax.config.update("jax_numpy_rank_promotion", "raise")
# wait for each program where it is called: a failure shows at its own line
jax.config.update("jax_cpu_enable_async_dispatch", False)
