"""Family, link and information of a generalised linear mixed model as callers name them."""

from __future__ import annotations

import re
from typing import Literal, TypeAlias

from ...checks import Checks
from ...errors import DesignError
from ...glmm.families import Family

# links of every family; the first is the default
LINKS = {
    "binomial": ("logit", "probit", "cloglog"),
    "poisson": ("log",),
    "negative-binomial": ("log",),
    "gamma": ("log",),
    "ordinal": ("logit", "probit"),
}
SHAPES = {"negative-binomial": 1, "gamma": 1}
BOTH_INFORMATIONS = ("binomial", "poisson")
# names without separators and capitals; nbinom2 is glmmTMB's
NAMES = {name.replace("-", ""): name for name in LINKS} | {"nbinom2": "negative-binomial"}

Information: TypeAlias = Literal["expected", "observed"]


def read_family(family: object, link: object = None, information: object = None) -> Family:
    """Family of a generalised linear mixed model.

    Parameters
    ----------
    family : str
        "binomial", "poisson", "negative-binomial" (variance mu + mu^2 / size), "gamma" or "ordinal"; capitals,
        hyphens, underscores, points and spaces make no difference, and R's "Gamma" and "nbinom2" are known.
    link : str, optional
        "logit", "probit" or "cloglog" of a binomial response, "logit" or "probit" of an ordinal one, else "log"; the
        first unless given.
    information : str, optional
        "expected", as in lme4, or "observed", as in glmmTMB and clmm: weights of the Laplace approximation. The
        default is "expected" for binomial and Poisson responses; others have "observed" only.

    Returns
    -------
    Family
        ``n_shape`` of an ordinal response is 0 until its categories are known. ``expected`` is False where both
        informations are the same.

    Raises
    ------
    DesignError
        There is no such family, link or information.

    Examples
    --------
    >>> read_family("binomial", "probit")
    Family(name='binomial', link='probit', expected=True, n_shape=0)
    """
    checks = Checks(DesignError)
    name = _name(checks.text(family, "family="))
    own = Family(name, _link(name, link), n_shape=SHAPES.get(name, 0))
    both = name in BOTH_INFORMATIONS
    if information is None:
        information = "expected" if both else "observed"
    checks.choice(information, Information, "information=")
    if information == "expected" and not both:
        raise DesignError(f"family={name!r} has the observed information only: use information='observed'")
    expected = information == "expected" and not own.canonical
    return Family(own.name, own.link, expected, own.n_shape)


def _name(given: str) -> str:
    key = re.sub(r"[-_.\s]", "", given.lower())
    if key in ("gaussian", "normal"):
        raise DesignError("gaussian family: use rx.lmer")
    if key.startswith("quasi"):
        raise DesignError(
            "quasi-families have no likelihood: use a row-level term (1 | row) or family='negative-binomial'"
        )
    if key not in NAMES:
        raise DesignError(f"family={given!r} is not known: use {_listed(tuple(LINKS))}; a link is given as link=")
    return NAMES[key]


def _link(name: str, given: object) -> str:
    links = LINKS[name]
    if given is None:
        return links[0]
    key = given.strip().lower() if isinstance(given, str) else given
    if key in links:
        return str(key)
    if links == ("log",) and key in ("inverse", "identity"):
        raise DesignError(f"family={name!r} has no link {key!r} here: the mean may be negative; use link='log'")
    raise DesignError(f"family={name!r} has no link {given!r}: use {_listed(links)}")


def _listed(names: tuple[str, ...]) -> str:
    *most, last = map(repr, names)
    return f"{', '.join(most)} or {last}" if most else last
