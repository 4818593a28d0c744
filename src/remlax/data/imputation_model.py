"""ImputationModel: what imputed cells were drawn from, in the words of formulas, kept with the imputations."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class ImputationModel:
    """An imputation model.

    Attributes
    ----------
    imputed : tuple of str
        Columns with imputed cells.
    targets, fixed : tuple of str
        Columns that are modelled together, and terms of complete columns that they depend on: ``("time", "time:arm")``.
    random : tuple of str or None
        Terms whose coefficients vary between clusters, beside the intercept; None: rows are independent.
    cluster : str
        Column of the clusters; empty if there are none.
    outcome : str
        Mixed model of an outcome that the imputed columns fit as well; empty if there is none.
    by : str
        Column in whose levels the model holds by itself; empty if there is none.
    categories : tuple of str
        Targets that are categories, whatever their type.
    top, top_random : str, tuple of str
        Column of the clusters that the clusters lie in, empty if there are none, and terms whose coefficients vary
        between them.
    """

    imputed: tuple[str, ...]
    targets: tuple[str, ...]
    fixed: tuple[str, ...] = ()
    random: tuple[str, ...] | None = None
    cluster: str = ""
    outcome: str = ""
    by: str = ""
    categories: tuple[str, ...] = ()
    top: str = ""
    top_random: tuple[str, ...] = ()

    @property
    def groups(self) -> str:
        """The clusters as a random term has them: "class", or "school/class"."""
        return f"{self.top}/{self.cluster}" if self.top else self.cluster
