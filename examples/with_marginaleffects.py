"""Average predictions and comparisons of a pooled model with the marginaleffects package.

marginaleffects knows a model by its coefficients, their covariance matrix and its predictions for new data. It
documents no way to register a class of models; a subclass of its ModelAbstract, as below, is taken as it is (tried with
0.6). Coefficients and covariance are Rubin's, so that all it computes from the fixed part is pooled. Its intervals are
normal: for t intervals with Barnard and Rubin's degrees of freedom use pooled.contrast().

Needs marginaleffects: pip install marginaleffects
"""

from __future__ import annotations

import numpy as np
import polars as pl
from marginaleffects import avg_comparisons, avg_predictions
from marginaleffects.classes import ModelAbstract, ModelVault

import remlax as rx


class Pooled(ModelAbstract):
    """The fixed part of a pooled model."""

    def __init__(self, pooled: rx.PooledLmer, data: object) -> None:
        self.rows = pooled.selection.rows
        self.keep = pooled.selection.model.keep
        variables = [v for v in self.rows.formula.variables if v not in self.rows.formula.random[0].group]
        vault = ModelVault(
            coef=pooled.fixef().to_numpy(),
            coefnames=pooled.fixef().index.to_numpy(),
            vcov=pooled.vcov().to_numpy(),
            formula=f"{self.rows.formula.response} ~ {self.rows.formula.fixed}",
            modeldata=pl.from_pandas(data[variables]),
            variable_names=variables,
            package="remlax",
        )
        super().__init__(pooled, vault)

    def get_vcov(self, vcov: object = True) -> np.ndarray | None:
        return self.vault.vcov if vcov is not False else None

    def get_exog(self, newdata: pl.DataFrame) -> np.ndarray:
        return self.rows.fixed.rebuild(newdata.to_pandas())[:, self.keep]

    def get_predict(self, params: np.ndarray, newdata: object) -> pl.DataFrame:
        x = newdata if isinstance(newdata, np.ndarray) else self.get_exog(newdata)
        return pl.DataFrame({"rowid": np.arange(len(x), dtype=np.int32), "estimate": x @ np.asarray(params)})


def main() -> None:
    data = rx.datasets.hsb_imputed()
    pooled = rx.lmer_list("mathach ~ minority + female * ses + (1 | schid)", data).pool()
    model = Pooled(pooled, data[0])
    print(avg_predictions(model, by="female").select("female", "estimate", "std_error"))
    found = avg_comparisons(model, variables="minority").select("estimate", "std_error")
    print(found)
    ours = pooled.contrast("minority")
    assert np.allclose(found["estimate"][0], ours["estimate"])
    assert np.allclose(found["std_error"][0], ours["std_error"], rtol=1e-5)


if __name__ == "__main__":
    main()
