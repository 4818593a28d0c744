"""Sentences about random terms that repeat each other: which, why, what is not identified, what to write instead."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations

import numpy as np

from ..engine.conditioning import aliased_columns
from ..errors import shortened
from ..fitting.assemble import z_columns
from ..fitting.fit import Fitted
from ..fitting.redundancy import Redundancy, entry_places, parameter_places
from ..fitting.redundant_terms import RedundantTerms, group_width, redundant_terms, superfluous
from .tables import term_labels


def redundancy_notes(fitted: Fitted, lanes: Sequence[int]) -> list[str]:
    """Say what is not identified in some data sets, and in which of them where not in all; empty where all is."""
    where: dict[str, list[int]] = {}
    known: dict[int, list[str]] = {}
    for k in lanes:
        found = fitted.redundancies.each[k]
        if found is not None:
            if id(found) not in known:
                known[id(found)] = _sentences(fitted, k, found)
            for text in known[id(found)]:
                where.setdefault(text, []).append(k)
    labels, out = fitted.model.rows.labels, []
    for text, own in where.items():
        named = f"in imputation {', '.join(str(labels[k]) for k in own)}, " if len(own) < len(lanes) else ""
        out.append(named + text)
    return out


def dropped_note(fitted: Fitted) -> list[str]:
    """Name the fixed-effect columns that are not in the model; empty where all are."""
    names = fitted.model.dropped_names
    what = "it" if len(names) == 1 else "them"
    return [f"left out, as other columns determine {what}: {shortened(names)}"] if names else []


def _sentences(fitted: Fitted, lane: int, found: Redundancy) -> list[str]:
    model, of_terms, unseen = fitted.model, found.of_terms, set(found.unseen)
    groups = [] if of_terms is None else redundant_terms(model, of_terms)
    out = [_repeated(fitted, lane, group) for group in groups if not unseen.issuperset(group.places.tolist())]
    if len(unseen) == len(found.root):
        out.append(
            f"{len(model.keep)} coefficients for {model.rows.n_rows(lane)} rows leave REML too little to tell "
            f"{len(unseen)} variances and covariances apart: none is identified, nor are the standard errors of the "
            "coefficients, which depend on them; use fewer fixed effects"
        )
    elif unseen:
        hidden = [
            t for t, term in enumerate(model.layout.terms) if unseen & set(range(term.theta.start, term.theta.stop))
        ]
        out.append(
            f"the fixed part explains what {listed([_text(fitted, t) for t in hidden])} could: REML does not identify "
            f"{listed(_lost(fitted, unseen))}, nor the standard errors of the coefficients that tell these groups "
            "apart; leave out the random term or those coefficients"
        )
    return out


def _repeated(fitted: Fitted, lane: int, group: RedundantTerms) -> str:
    """Say that terms repeat each other, or that one has columns too many."""
    residual = fitted.theta.shape[1] in group.places
    lost = listed(_lost(fitted, set(group.places.tolist())) + (["the residual SD"] if residual else []))
    if len(group.terms) == 1 and not residual:
        why, advice = _within(fitted, lane, group)
        return f"{why}: not identified is {lost}; {advice}"
    left_out, resolved = superfluous(fitted.model, group)
    texts = [_text(fitted, t) for t in group.terms] + (["the residual"] if residual else [])
    reason = "" if residual else _why(fitted, lane, group, left_out)
    what = f"the random term{'s' * (len(group.terms) > 1)} {listed(texts)} repeat each other"
    to_do = [f"leave out {listed([_text(fitted, t) for t in left_out])}"] if left_out else []
    to_do += [] if resolved else ["let every column stand in one term only"]
    if coded := _coded(fitted, group, left_out):
        to_do.append(
            "|| does not drop the correlations between the categories of a factor: for effects without correlations, "
            f"code {coded} as numbers, such as -0.5 and 0.5"
        )
    return f"{what}{reason}: only what they add up to is identified, not {lost}; {'; '.join(to_do)}"


def _lost(fitted: Fitted, places: set[int]) -> list[str]:
    """SDs and correlations that an undetermined entry takes part in, by the names that tables have."""
    terms, labels, out = fitted.model.layout.terms, term_labels(fitted), []
    for t, a, b, entries in parameter_places(fitted.model.layout):
        if set(entries) & places:
            names = terms[t].names
            what = f"sd__{names[a]}" if a == b else f"cor__{names[a]}.{names[b]}"
            out.append(f"{what} of {labels[t]}")
    return out


def _text(fitted: Fitted, t: int) -> str:
    term = fitted.model.layout.terms[t]
    return f"({fitted.model.rows.formula.random[term.source].lhs} | {term.group})"


def _why(fitted: Fitted, lane: int, group: RedundantTerms, left_out: list[int]) -> str:
    """Why terms repeat each other: the same groups under two names, columns that are in two of them."""
    layout = fitted.model.layout
    order = sorted(group.terms, key=lambda t: (group_width(fitted.model, t), layout.terms[t].source))
    factors = list(dict.fromkeys(layout.terms[t].factor for t in order))
    same = [f for f in factors[1:] if _same_groups(fitted, lane, factors[0], f)]
    if len(same) < len(factors) - 1:
        return ""
    parts = [f"the groups of {layout.factors[f].label} are those of {layout.factors[factors[0]].label}" for f in same]
    names = [layout.terms[t].names for t in order]
    twice = dict.fromkeys(name for a, b in combinations(names, 2) for name in a if name in b)
    if not twice:
        kept = [t for t in order if t not in left_out]
        one, other = (listed([_text(fitted, t) for t in part]) for part in (left_out or kept[1:], kept or left_out[:1]))
        parts.append(f"the columns of {one} are combinations of those of {other}")
    elif not same:
        parts.append(f"{listed(list(twice))} {'is' if len(twice) == 1 else 'are'} in {_several(len(order))}")
    return f", as {' and '.join(parts)}"


def _several(n: int) -> str:
    return "both" if n == 2 else "several of them"


def _same_groups(fitted: Fitted, lane: int, f: int, g: int) -> bool:
    """Tell whether two grouping factors part the rows of a data set into the same groups."""
    rows, source = fitted.model.rows, fitted.model.layout.factor_source
    one, other = (rows.factor_rows[source[i]].lane(lane) for i in (f, g))
    pairs = len(np.unique(one.astype(np.int64) * (int(other.max()) + 1) + other))
    return pairs == len(np.unique(one)) == len(np.unique(other))


def _coded(fitted: Fitted, group: RedundantTerms, left_out: list[int]) -> str:
    """Name the factor whose categories ``||`` has kept together in one of the terms; empty where there is none."""
    if "||" not in fitted.model.rows.formula.text:
        return ""
    kept = [fitted.model.layout.terms[t].names for t in group.terms if t not in left_out]
    return next((names[0].partition("[")[0] for names in kept if len(names) > 1 and "[" in names[0]), "")


def _within(fitted: Fitted, lane: int, group: RedundantTerms) -> tuple[str, str]:
    """Why one term has more parameters than the data determine, and what to do."""
    model, text = fitted.model, _text(fitted, group.terms[0])
    term = model.layout.terms[group.terms[0]]
    z = z_columns(model.rows, model.layout, lane)[term.factor][:, term.columns]
    names, label = term.names, term.group
    if redundant := [names[j] for j in aliased_columns(z)]:
        what = listed(redundant)
        return f"the other columns of the random term {text} determine {what}", f"leave {what} out of the term"
    if not set(np.diag(entry_places(term)).tolist()) & set(group.places.tolist()):
        return (
            f"no group of {label} has rows that tell the correlations of the random term {text}",
            "give each column a term of its own, with numeric columns such as (0 + a | g) + (0 + b | g)",
        )
    codes = model.rows.factor_rows[model.layout.factor_source[term.factor]].lane(lane)
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
