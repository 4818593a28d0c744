"""What was said of a survey."""

from __future__ import annotations

from dataclasses import dataclass

from .combine import Combine


@dataclass(frozen=True, eq=False)
class SurveyDesign:
    """What was said of the survey, in words, and the degrees of freedom of its standard errors.

    Parameters
    ----------
    weights : str
        How weights were given; empty without.
    size : float
        Mean of the weights of the outermost units.
    n_replicates : int
    errors : str
        Where standard errors come from.
    df : float
    rule : {"rubin", "pisa", "naep"}
        How plausible values are combined.
    responses : str
        Where responses come from; empty for one response.
    """

    weights: str
    size: float
    n_replicates: int
    errors: str
    df: float
    rule: Combine
    responses: str
