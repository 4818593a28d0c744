"""The parametric bootstrap of the likelihood ratio: every replication has draws of its own fitted null model."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from ..many.estimates import ResponseFits
from .responses import EffectLaw, generator
from .testing import DesignTest

# with 199 draws p <= 0.05 is one of the 10 largest of 200 ratios
N_BOOT = 199
# numbers of responses that are drawn and fitted at once
NUMBERS = 2**22
# part of a replication's random numbers: those of its response are far below
PART = 2**16


@dataclass(frozen=True, eq=False)
class BootstrapTest(DesignTest):
    """The likelihood-ratio test of L beta = null in one design, by draws of the ratio under the hypothesis.

    The ratio is the same for y and for c y + X0 b, X0 the fixed part under the hypothesis: draws have mean 0 and
    residual SD 1, and only the relative covariance of the random effects is taken from a fit.

    Parameters
    ----------
    n_boot : int
        Draws for every replication.
    seed : int
    """

    n_boot: int
    seed: int

    def ratio_p_values(self, fits: ResponseFits, y: np.ndarray, replications: range) -> np.ndarray:
        """P-values (R,), (1 + draws that reach the ratio) / (1 + draws), of fits to responses (R, n).

        Draws whose fits failed are left out.
        """
        observed, restricted = self.ratio(fits, y)
        rows, out = self.design.rows, np.full(len(y), np.nan)
        known = self.smaller[1] + (0.0 if rows.offset is None else rows.offset.of(0))
        for which in self._pieces(np.flatnonzero(np.isfinite(observed)), y.shape[1]):
            drawn = np.concatenate([self._draw(restricted.theta[i], replications[i]) for i in which]) + known
            ratio = self.ratio(self.fit(drawn), drawn)[0].reshape(len(which), self.n_boot)
            reached = (ratio >= observed[which, None]).sum(axis=1)
            out[which] = (1 + reached) / (1 + np.isfinite(ratio).sum(axis=1))
        return out

    def _pieces(self, which: np.ndarray, n: int) -> Iterator[np.ndarray]:
        size = max(1, NUMBERS // (n * self.n_boot))
        yield from (which[at : at + size] for at in range(0, len(which), size))

    def _draw(self, theta: np.ndarray, replication: int) -> np.ndarray:
        """Responses (n_boot, n) of mean 0 and residual SD 1, at a theta (d,) in lme4's order."""
        model, rng = self.smaller[0].model, generator(self.seed, replication, PART)
        y = rng.standard_normal((self.n_boot, model.rows.n_rows(0)))
        for term in model.layout.terms:
            source = model.rows.terms[term.source]
            root = np.zeros((term.q, term.q))
            root.T[np.triu_indices(term.q)] = theta[term.theta]
            law = EffectLaw(model.rows.factor_rows[source.factor].of(0), source.rows.of(0), root)
            y += law.contribution(rng.standard_normal((self.n_boot, int(law.codes.max()) + 1, term.q)))
        return y
