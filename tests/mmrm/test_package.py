"""Standard errors and degrees of freedom of R's mmrm 0.3.18, whose Hessians are by automatic differentiation."""

from __future__ import annotations

import numpy as np
import pytest
from mmrm_cases import case, fitted

QUICK = ("us", "toeph", "cs")
STRUCTURES = [
    pytest.param(s, marks=[pytest.mark.slow] * (s not in QUICK)) for s in (*QUICK, "csh", "ar1", "ar1h", "toep")
]


@pytest.mark.parametrize("structure", STRUCTURES)
@pytest.mark.parametrize(
    ("ddf", "theirs"), [("satterthwaite", "satterthwaite"), ("kenward-roger", "kenward-roger-linear")]
)
def test_degrees_of_freedom_are_those_of_the_package(structure: str, ddf: str, theirs: str) -> None:
    (one,) = [own for own in case("mmrm_package")["mmrm_trial"] if own["structure"] == structure]
    table = fitted("mmrm_trial", f"{one['formula']} + {structure}(visit | id)").tidy(ddf=ddf)
    # its optimiser stops at a relative change of the criterion of about 1e-10: standard errors are off by up to 4e-5
    np.testing.assert_allclose(table["std_error"], one[theirs]["se"], rtol=1e-4)
    np.testing.assert_allclose(table["df"], one[theirs]["df"], rtol=3e-4)
