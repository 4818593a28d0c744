"""What a mixed model for repeated measures has no random effects or no one residual SD for: refused in a sentence."""

from __future__ import annotations

from typing import Any, NoReturn

from ...errors import DataError
from ..result import ModelResult

NO_EFFECTS = "a mixed model for repeated measures has no random effects"
COVARIANCES = "use residual_covariance(), residual_correlation() or tidy('ran_pars') for the covariance of the visits"


def _refuse(name: str, reason: str) -> NoReturn:
    raise DataError(f"{name}: {reason}")


class NoRandomEffects(ModelResult):
    """Methods of models with random effects, refused."""

    @property
    def theta(self) -> NoReturn:
        """Refused: there are no relative covariance factors."""
        _refuse("theta", f"{NO_EFFECTS}; {COVARIANCES}")

    def varcorr(self) -> NoReturn:
        """Refused: see `residual_covariance`."""
        _refuse("varcorr()", f"{NO_EFFECTS}; {COVARIANCES}")

    def ranef(self, *, cond_var: bool = False) -> NoReturn:
        """Refused: there are no random effects."""
        _refuse("ranef()", NO_EFFECTS)

    def icc(self, **_: Any) -> NoReturn:
        """Refused: see `residual_correlation`."""
        _refuse("icc()", f"{NO_EFFECTS}; residual_correlation() has the correlations of the visits")

    def r2(self, **_: Any) -> NoReturn:
        """Refused: it compares variances of random effects."""
        _refuse("r2()", f"{NO_EFFECTS}, and every visit may have its own variance")

    def sim_ranef(self, group: str | None = None, **_: Any) -> NoReturn:
        """Refused: there are no random effects."""
        _refuse("sim_ranef()", NO_EFFECTS)

    def expected_rank(self, group: Any = None, term: Any = None) -> NoReturn:
        """Refused: there are no random effects."""
        _refuse("expected_rank()", NO_EFFECTS)

    def re_quantile(self, *_: Any, **__: Any) -> NoReturn:
        """Refused: there are no random effects."""
        _refuse("re_quantile()", NO_EFFECTS)

    def re_impact(self, *_: Any, **__: Any) -> NoReturn:
        """Refused: there are no random effects."""
        _refuse("re_impact()", NO_EFFECTS)

    def re_margins(self, *_: Any, **__: Any) -> NoReturn:
        """Refused: there are no random effects."""
        _refuse("re_margins()", NO_EFFECTS)

    def predict_interval(self, *_: Any, **__: Any) -> NoReturn:
        """Refused: its draws are of random effects."""
        _refuse("predict_interval()", f"{NO_EFFECTS} to draw: use predict(interval=...)")

    def sub_boot(self, *_: Any, **__: Any) -> NoReturn:
        """Refused: subsamples of groups are of models with random effects."""
        _refuse("sub_boot()", f"{NO_EFFECTS}, of which it draws groups")

    def augment(self, **_: Any) -> NoReturn:
        """Refused: leverages are of models with one residual variance."""
        _refuse("augment()", "not available for mixed models for repeated measures: use fitted() and residuals()")

    def rmse(self, *, scale: bool = False) -> NoReturn:
        """Refused: every visit may have its own variance."""
        _refuse("rmse()", f"every visit may have its own variance: {COVARIANCES}")
