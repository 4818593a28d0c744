"""Robust priors against limma; moderation of imputed designs against Rubin's rules by hand."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.stats
from numpy.testing import assert_allclose

import remlax as rx
from many_cases import FORMULA, design, draw, many_genes
from remlax.errors import DataError
from remlax.many.moderation.prior import squeezed
from remlax.many.moderation.robust import fit_prior_robustly, log_f_upper
from remlax.pooling import pool_rubin

P = (np.arange(40) + 0.5) / 40


def cases() -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Variances and degrees of freedom: one common variance with an outlier, and without; huge ones; unequal df."""
    chi2, f = scipy.stats.chi2.ppf(P, 10) / 10, 2 * scipy.stats.f.ppf(P, 10, 6)
    ten = np.full(40, 10.0)
    return {
        "outlier": (np.append(chi2[:-1], 20 * chi2[-1]), ten),
        "huge": (np.append(f[:-2], [500.0, 1e30]), ten),
        "unequal": (np.append(f[:-1], 300.0), np.tile([10.0, 7.0], 20)),
        "common": (chi2, ten),
        "few": (np.array([1, 2, 3, 50, 2, 1, 1.5, 2.5]), np.full(8, 5.0)),
    }


# limma 3.54.1, R 4.2.2: squeezeVar(s2, df, robust = TRUE): var.prior, the last df.prior, the last var.post
LIMMA = {
    "outlier": (1.00093145204809, 4.6369226676771e-86, 45.11649486005120),
    "huge": (2.00626525408605, 0.0191223269028782, 9.98091416964585e29),
    "unequal": (2.05301688545165, 0.216749411030761, 291.05139593599296),
    "common": (1.00093145204809, np.inf, 1.00093145204809),
    "few": (2.14144002054169, 2.68546966830041, 2.37471137215292),
}


@pytest.mark.parametrize("name", LIMMA)
def test_robust_priors_are_those_of_limma(name: str):
    s2, df = cases()[name]
    prior, (s2_prior, last_df, last_post) = fit_prior_robustly(s2, df), LIMMA[name]
    assert_allclose(prior.s2, s2_prior, rtol=1e-8)
    assert_allclose(np.broadcast_to(prior.df, s2.shape)[-1], last_df, rtol=1e-6)
    assert_allclose(squeezed(s2, df, prior)[-1], last_post, rtol=1e-7)


def test_the_logarithm_of_a_tail_does_not_underflow():
    for x in (0.3, 5.0, 1e6):
        assert_allclose(log_f_upper(x, 10, 6.0), scipy.stats.f.logsf(x, 10, 6), rtol=1e-12)
    assert_allclose(log_f_upper(3.0, 10, np.inf), scipy.stats.chi2.logsf(30, 10), rtol=1e-12)
    # far out the tail is a power of x
    slope = np.diff(log_f_upper(np.array([1e90, 1e100]), 10, 8.0))
    assert_allclose(slope, -4 * np.log(1e10), rtol=1e-12)
    assert_allclose(log_f_upper(1e51, 10, 8.0) + 4 * np.log(1e4), log_f_upper(1e47, 10, 8.0), rtol=1e-12)


def test_an_imputed_design_is_moderated_in_each_imputation_and_pooled():
    shift = 0.3 * np.random.default_rng(3).normal(size=60) * (np.arange(60) % 4 == 0)
    frames = [design().assign(x=design()["x"] + k * shift) for k in range(4)]
    responses = draw(41, 12).assign(y11=1.0)
    moderated = rx.lmer_many(FORMULA, frames, responses).moderate()
    each = [rx.lmer_many(FORMULA, frame, responses).moderate() for frame in frames]
    estimates, errors, dfs = (
        np.stack([one.tidy()[name].to_numpy().reshape(12, 3)[4] for one in each])
        for name in ("estimate", "std_error", "df")
    )
    pooled = pool_rubin(estimates, np.stack([np.diag(error**2) for error in errors]), dfcom=dfs.mean(axis=0))
    found = moderated.tidy().query("response == 'y4'")
    assert_allclose(found["estimate"], pooled.estimate, rtol=1e-7)
    assert_allclose(found["std_error"], pooled.std_error, rtol=1e-7)
    assert_allclose(found["df"], pooled.df, rtol=1e-6)
    assert_allclose(moderated.s2_prior, np.mean([one.s2_prior for one in each]), rtol=1e-7)
    assert_allclose(moderated.s2_post, np.mean([one.s2_post for one in each], axis=0), rtol=1e-7)
    assert np.isnan(moderated.df_residual["y11"])


def test_variances_before_and_after():
    moderated = many_genes().moderate(robust=True)
    table = moderated.variances()
    assert_allclose(table["sigma2"], many_genes().sigma ** 2)
    assert_allclose(table["s2_post"], moderated.s2_post)
    assert_allclose(table["df_prior"], moderated.df_prior)
    source = many_genes().source.responses
    assert source is not None
    assert_allclose(table["average"], np.nanmean(source.values, axis=0))
    post = (table["df_prior"] * table["s2_prior"] + table["df_residual"] * table["sigma2"]) / (
        table["df_prior"] + table["df_residual"]
    )
    assert_allclose(table["s2_post"], post)
    with pytest.raises(DataError, match="robust='yes' must be"):
        many_genes().moderate(robust="yes")  # type: ignore[arg-type]
