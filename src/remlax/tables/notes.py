"""Notes of tables: which fits failed or are singular, and which random terms repeat each other, in sentences."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations

import numpy as np
import pandas as pd

from ..engine.conditioning import aliased_columns
from ..errors import shortened
from ..fitting.assemble import z_columns
from ..fitting.redundancy import Redundancy, entry_places, parameter_places
from ..fitting.redundant_terms import RedundantTerms, group_width, redundant_terms, superfluous
from ..fitting.selection import Selection
from .varcorr import term_labels


def redundancy_notes(fits: Selection) -> list[str]:
    """Say what is not identified in some data sets, and in which of them where not in all; empty where all is."""
    where: dict[str, list[int]] = {}
    known: dict[int, list[str]] = {}
    for k in fits.which:
        found = fits.fitted.redundancies.each[k]
        if found is not None:
            if id(found) not in known:
                known[id(found)] = _sentences(fits.one(k), found)
            for text in known[id(found)]:
                where.setdefault(text, []).append(k)
    return [
        (f"in imputation {', '.join(map(str, fits.named(own)))}, " if len(own) < fits.n_sets else "") + text
        for text, own in where.items()
    ]


def prior_note(fits: Selection) -> list[str]:
    """Say that the estimates are penalised and by what; empty without a prior."""
    given = fits.fitted.penalties.items()
    return [f"estimates are penalised by a prior on {what}: {text}" for what, text in given]


def dropped_note(fits: Selection) -> list[str]:
    """Name the fixed-effect columns that are not in the model; empty where all are."""
    names = fits.model.dropped_names
    if fits.fitted.has_thresholds:
        names = [name for name in names if name != "Intercept"]
    what = "it" if len(names) == 1 else "them"
    return [f"left out, as other columns determine {what}: {shortened(names)}"] if names else []


def _sentences(fit: Selection, found: Redundancy) -> list[str]:
    model, of_terms, unseen = fit.model, found.of_terms, set(found.unseen)
    groups = [] if of_terms is None else redundant_terms(model, of_terms)
    out = [_repeated(fit, group) for group in groups if not unseen.issuperset(group.places.tolist())]
    if len(unseen) == len(found.root):
        out.append(
            f"{len(model.keep)} coefficients for {model.rows.n_rows(fit.k)} rows leave REML too little to tell "
            f"{len(unseen)} variances and covariances apart: none is identified, nor are the standard errors of the "
            "coefficients, which depend on them; use fewer fixed effects"
        )
    elif unseen:
        hidden = [
            t for t, term in enumerate(model.layout.terms) if unseen & set(range(term.theta.start, term.theta.stop))
        ]
        out.append(
            f"the fixed part explains what {listed([_text(fit, t) for t in hidden])} could: REML does not identify "
            f"{listed(_lost(fit, unseen))}, nor the standard errors of the coefficients that tell these groups "
            "apart; leave out the random term or those coefficients"
        )
    return out


def _repeated(fit: Selection, group: RedundantTerms) -> str:
    """Say that terms repeat each other, or that one has columns too many."""
    residual = fit.fitted.theta.shape[1] in group.places
    lost = listed(_lost(fit, set(group.places.tolist())) + (["the residual SD"] if residual else []))
    if len(group.terms) == 1 and not residual:
        why, advice = _within(fit, group)
        return f"{why}: not identified is {lost}; {advice}"
    left_out, resolved = superfluous(fit.model, group)
    texts = [_text(fit, t) for t in group.terms] + (["the residual"] if residual else [])
    reason = "" if residual else _why(fit, group, left_out)
    what = f"the random term{'s' * (len(group.terms) > 1)} {listed(texts)} repeat each other"
    to_do = [f"leave out {listed([_text(fit, t) for t in left_out])}"] if left_out else []
    structured = any(fit.model.layout.terms[t].structure is not None for t in group.terms)
    if residual and structured:
        to_do = [f"with one row for each level and column, write (1 | {fit.model.layout.terms[group.terms[0]].group})"]
    elif not resolved:
        to_do.append("let every column stand in one term only")
    if coded := _coded(fit, group, left_out):
        to_do.append(
            "|| does not drop the correlations between the categories of a factor: for effects without correlations, "
            f"code {coded} as numbers, such as -0.5 and 0.5"
        )
    return f"{what}{reason}: only what they add up to is identified, not {lost}; {'; '.join(to_do)}"


def _lost(fit: Selection, places: set[int]) -> list[str]:
    """SDs and correlations that an undetermined entry takes part in, by the names that tables have."""
    terms, labels, out = fit.model.layout.terms, term_labels(fit.fitted), []
    for t, a, b, entries in parameter_places(fit.model.layout):
        if set(entries) & places:
            out.append(f"{terms[t].label(a, b)} of {labels[t]}")
    return out


def _text(fit: Selection, t: int) -> str:
    term = fit.model.layout.terms[t]
    return fit.rows.formula.random[term.source].text


def _why(fit: Selection, group: RedundantTerms, left_out: list[int]) -> str:
    """Why terms repeat each other: the same groups under two names, columns that are in two of them."""
    layout = fit.model.layout
    order = sorted(group.terms, key=lambda t: (group_width(fit.model, t), layout.terms[t].source))
    factors = list(dict.fromkeys(layout.terms[t].factor for t in order))
    same = [f for f in factors[1:] if _same_groups(fit, factors[0], f)]
    if len(same) < len(factors) - 1:
        return ""
    parts = [f"the groups of {layout.factors[f].label} are those of {layout.factors[factors[0]].label}" for f in same]
    names = [layout.terms[t].names for t in order]
    twice = dict.fromkeys(name for a, b in combinations(names, 2) for name in a if name in b)
    if not twice:
        kept = [t for t in order if t not in left_out]
        one, other = (listed([_text(fit, t) for t in part]) for part in (left_out or kept[1:], kept or left_out[:1]))
        parts.append(f"the columns of {one} are combinations of those of {other}")
    elif not same:
        several = "both" if len(order) == 2 else "several of them"
        parts.append(f"{listed(list(twice))} {'is' if len(twice) == 1 else 'are'} in {several}")
    return f", as {' and '.join(parts)}"


def _same_groups(fit: Selection, f: int, g: int) -> bool:
    """Tell whether two grouping factors part the rows of a data set into the same groups."""
    rows, source = fit.rows, fit.model.layout.factor_source
    one, other = (rows.factor_rows[source[i]].of(fit.k) for i in (f, g))
    pairs = len(np.unique(one.astype(np.int64) * (int(other.max()) + 1) + other))
    return pairs == len(np.unique(one)) == len(np.unique(other))


def _coded(fit: Selection, group: RedundantTerms, left_out: list[int]) -> str:
    """Name the factor whose categories ``||`` has kept together in one of the terms; empty where there is none."""
    if "||" not in fit.rows.formula.text:
        return ""
    kept = [fit.model.layout.terms[t].names for t in group.terms if t not in left_out]
    return next((names[0].partition("[")[0] for names in kept if len(names) > 1 and "[" in names[0]), "")


def _within(fit: Selection, group: RedundantTerms) -> tuple[str, str]:
    """Why one term has more parameters than the data determine, and what to do."""
    model, text = fit.model, _text(fit, group.terms[0])
    term = model.layout.terms[group.terms[0]]
    z = z_columns(model.rows, model.layout, fit.k)[term.factor][:, term.columns]
    names, label = term.names, term.group
    if redundant := [names[j] for j in aliased_columns(z)]:
        what = listed(redundant)
        return f"the other columns of the random term {text} determine {what}", f"leave {what} out of the term"
    if not set(np.diag(entry_places(term)).tolist()) & set(group.places.tolist()):
        return (
            f"no group of {label} has rows that tell the correlations of the random term {text}",
            "give each column a term of its own, with numeric columns such as (0 + a | g) + (0 + b | g)",
        )
    codes = model.rows.factor_rows[model.layout.factor_source[term.factor]].of(fit.k)
    first = np.zeros((int(codes.max()) + 1, term.q))
    first[codes] = z
    fixed = [name for name, same in zip(names, (first[codes] == z).all(axis=0), strict=True) if same]
    fixed = [name for name in fixed if name != "Intercept"]
    if fixed:
        what = listed(fixed)
        verb = "does" if len(fixed) == 1 else "do"
        return (
            f"in the random term {text}, {what} {verb} not vary within the groups of {label}",
            f"leave {what} out of the term",
        )
    return (
        f"the groups of {label} have too few different rows for the random term {text}",
        "use fewer columns in the term",
    )


def listed(words: Sequence[str]) -> str:
    return " and ".join([", ".join(words[:-1]), words[-1]]) if len(words) > 1 else words[0]


def mark(table: pd.DataFrame, fits: Selection) -> pd.DataFrame:
    """Put what a reader must know of the fits into a table's ``attrs``: sentences in ``notes``.

    Of several fits also ``n_imputations``, and the labels ``singular_imputations``, ``failed_imputations`` and
    ``dropped_imputations``.
    """
    own = table.attrs.get("notes", [])
    if fits.n_sets == 1:
        table.attrs["notes"] = [*fit_notes(fits), *own]
        return table
    named = {"singular": fits.singular, "failed": fits.failed, "dropped": fits.left_out}
    words = ("singular fits", "fits that did not converge", "left out")
    notes = [f"{what}: imputation {shortened(of)}" for what, of in zip(words, named.values(), strict=True) if of]
    table.attrs |= {"n_imputations": fits.n_sets, **{f"{name}_imputations": of for name, of in named.items()}}
    table.attrs["notes"] = [*own, *notes, *redundancy_notes(fits)]
    return table


def fit_notes(fit: Selection) -> list[str]:
    """Say what a reader of the tables must know: no convergence, a singular fit and what follows from it."""
    notes = []
    if not fit.fitted.converged[fit.k]:
        notes.append(f"NOT CONVERGED: {fit.fitted.verdict(fit.k)}; do not use these estimates")
    if fit.fitted.singular[fit.k]:
        what = "degrees of freedom and standard errors" if fit.fitted.has_df else "standard errors"
        notes.append(
            f"singular fit: {fit.fitted.boundary(fit.k)}; {what} of the other parameters leave out those on the "
            "boundary"
        )
    return [*notes, *redundancy_notes(fit)]
