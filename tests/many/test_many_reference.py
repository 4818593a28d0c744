"""60 responses against lmerTest and limma; definitions against formulas."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import scipy.stats
from numpy.testing import assert_allclose

from many_cases import genes, many_genes, reference
from remlax.many.moderation.prior import fit_prior, inverse_trigamma, squeezed


def columns(table: dict[str, list[object]]) -> pd.DataFrame:
    return pd.DataFrame({name: values for name, values in table.items() if name != "row"})


def aligned(table: pd.DataFrame, ref: pd.DataFrame) -> pd.DataFrame:
    term = ref["term"].str.replace("(Intercept)", "Intercept").str.replace("batch(b.)", r"batch[T.\1]", regex=True)
    return table.set_index(["response", "term"]).loc[list(zip(ref["response"], term, strict=True))].reset_index()


def test_estimates_are_those_of_polished_fits():
    ref, case = columns(reference()["fixed"]), columns(reference()["responses"])
    found = aligned(many_genes().tidy("fixed"), ref)
    assert np.abs((found["estimate"] - ref["estimate"]) / ref["std_error"]).max() < 1e-6
    assert_allclose(found["std_error"], ref["std_error"], rtol=1e-6)
    assert_allclose(found["df"], ref["df"], rtol=1e-6)
    assert_allclose(found["p_value"], ref["p_value"], rtol=1e-5)
    assert_allclose(found["p_adjusted"], ref["p_adjusted_bh_within_term"], rtol=1e-5)
    many = many_genes()
    assert_allclose(many.sigma[case["response"]], case["sigma"], rtol=1e-6)
    assert_allclose(many.glance().loc[case["response"], "criterion"], case["reml_criterion"], atol=1e-7)
    assert (many.glance().loc[case["response"], "nobs"].to_numpy() == case["nobs"]).all()
    sd = many.tidy("ran_pars").query("group == 'donor'").set_index("response").loc[case["response"], "estimate"]
    assert_allclose(sd, case["donor_sd"], atol=1e-6)
    assert ((many.status[case["response"]] == "singular").to_numpy() == case["singular"].astype(bool)).all()


def test_moderated_statistics_are_those_of_limma():
    ref = reference()["moderated"]
    table = columns(ref["table"])
    moderated = many_genes().moderate()
    assert_allclose(moderated.s2_prior, ref["s2_prior"], rtol=1e-6)
    assert_allclose(moderated.df_prior, ref["df_prior"], rtol=1e-6)
    assert_allclose(moderated.s2_post[list(ref["s2_post"])], list(ref["s2_post"].values()), rtol=1e-6)
    found = aligned(moderated.tidy("fixed"), table)
    assert_allclose(found["std_error"], table["std_error"], rtol=1e-6)
    assert_allclose(found["statistic"], table["statistic"], atol=1e-6)
    assert_allclose(found["df"], table["df"], rtol=1e-6)
    assert_allclose(found["p_value"], table["p_value"], rtol=1e-5)
    assert_allclose(found["p_adjusted"], table["p_adjusted_bh_within_term"], rtol=1e-5)
    by_residual = aligned(many_genes().moderate(df="residual").tidy(), table)
    assert_allclose(by_residual["df"], table["df_limma"], rtol=1e-6)
    assert_allclose(by_residual["p_value"], table["p_value_limma_df"], rtol=1e-5)


def test_robust_moderation_is_that_of_limma():
    ref = reference()["moderated_robust"]
    moderated = many_genes().moderate(robust=True)
    assert_allclose(moderated.s2_prior, ref["s2_prior"], rtol=1e-6)
    for name in ("df_prior", "s2_post"):
        assert_allclose(getattr(moderated, name)[list(ref[name])], list(ref[name].values()), rtol=1e-6)
    found, plain = moderated.tidy(), many_genes().tidy()
    assert_allclose(found["df"], plain["df"] + moderated.df_prior[found["response"]].to_numpy())
    assert "(fewer for" in str(moderated)


def test_moderated_contrasts():
    moderated = many_genes().moderate()
    one = moderated.contrast("dose").drop(columns="p_adjusted")
    same = moderated.tidy().query("term == 'dose'").drop(columns="p_adjusted").reset_index(drop=True)
    pd.testing.assert_frame_equal(pd.DataFrame(one), pd.DataFrame(same))
    assert "moderated variances" in str(moderated)


def test_the_prior_follows_from_two_moments():
    rng, d0, s0, d = np.random.default_rng(1), 8.0, 2.5, np.full(200_000, 6.0)
    sigma2 = s0 * d0 / rng.chisquare(d0, len(d))
    s2 = sigma2 * rng.chisquare(d) / d
    prior = fit_prior(s2, d)
    assert prior.df == pytest.approx(d0, rel=0.03)
    assert prior.s2 == pytest.approx(s0, rel=0.01)
    # a response's posterior lies between its own variance and the prior's
    post = squeezed(s2[:9], d[:9], prior)
    assert (np.sign(post - s2[:9]) == np.sign(prior.s2 - s2[:9])).all()
    same = fit_prior(np.full(50, 3.0), np.full(50, 5.0))
    assert np.isinf(same.df)
    assert squeezed(np.array([1.0, np.nan]), d[:2], same).tolist() == pytest.approx([3.0, np.nan], nan_ok=True)
    for value in (1e-6, 0.3, 40.0):
        assert scipy.special.polygamma(1, inverse_trigamma(value)) == pytest.approx(value, rel=1e-9)


def test_shares_of_variance_follow_their_definition():
    """Hoffman & Schadt (2016): variances of the columns' contributions, scaled to the variance of the fixed part."""
    many, (data, _) = many_genes(), genes()
    shares = many.varcorr_shares()
    assert list(shares) == ["age", "dose", "batch", "donor", "Residual"]
    assert_allclose(shares.sum(axis=1), 1.0)
    name = "gene02"
    beta = many.fixef().loc[name]
    batch = beta["batch[T.b2]"] * (data["batch"] == "b2") + beta["batch[T.b3]"] * (data["batch"] == "b3")
    parts = {"age": beta["age"] * data["age"], "dose": beta["dose"] * data["dose"], "batch": batch}
    each = pd.Series({term: np.var(part) for term, part in parts.items()})
    each *= np.var(sum(parts.values())) / each.sum()
    components = many.varcorr().query("response == @name")["vcov"].to_numpy()
    total = each.sum() + components.sum()
    assert_allclose(shares.loc[name], [*(each / total), *(components / total)], rtol=1e-10)
