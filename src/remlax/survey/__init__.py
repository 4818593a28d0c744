"""Linear mixed models of surveys: sampling weights, replicate weights and plausible values."""

from .result import SurveyFit as SurveyFit
