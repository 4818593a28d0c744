"""An EEG-like experiment: 12 sensors x 20 times of subjects who see items, and permutations over all of them."""

from __future__ import annotations

import numpy as np
import pandas as pd

import remlax as rx

SENSORS, TIMES = 12, np.arange(0, 800, 40)


def trials() -> tuple[pd.DataFrame, pd.DataFrame]:
    """Mean voltages of 20 subjects for 10 items, which are new or old; sensors 3 to 5 tell them apart after 400 ms."""
    rng = np.random.default_rng(1)
    subject, item = (axis.reshape(-1) for axis in np.meshgrid(np.arange(20), np.arange(10), indexing="ij"))
    old = (subject + item) % 2
    design = pd.DataFrame({"subject": subject, "item": item, "old": np.where(old, "yes", "no")})
    names = [f"sensor {s:02d} at {t} ms" for s in range(SENSORS) for t in TIMES]
    # neighbours in time are correlated
    noise = rng.normal(size=(len(design), SENSORS, len(TIMES))).cumsum(axis=2) / np.sqrt(np.arange(1, len(TIMES) + 1))
    noise += rng.normal(size=(20, SENSORS, 1))[subject] + 0.5 * rng.normal(size=(10, SENSORS, 1))[item]
    effect = np.zeros((SENSORS, len(TIMES)))
    effect[3:6, TIMES >= 400] = 0.8
    voltage = noise + old[:, None, None] * effect
    return design, pd.DataFrame(voltage.reshape(len(design), -1), columns=names)


def main() -> None:
    design, voltage = trials()
    many = rx.lmer_many("~ old + (1 | subject) + (1 | item)", design, responses=voltage)
    print(many)

    table = many.contrast({"old - new": "old[T.yes]"})
    print(f"{(table['p_adjusted'] < 0.05).sum()} of {len(many)} at a false discovery rate of 5%")

    # old and new are exchanged within subjects; the largest |t| of all sensors and times is the yardstick
    table = many.permutation_test("old[T.yes]", "old", groups="subject", n_permutations=99, seed=1)
    found = table[table["p_adjusted"] < 0.05]
    print(f"{len(found)} with an error of 5% over all of them:")
    place = found["response"].str.extract(r"sensor (?P<sensor>\d+) at (?P<time>\d+) ms").astype(int)
    print(place.groupby("sensor")["time"].agg(["min", "max", "size"]).to_string())


if __name__ == "__main__":
    main()
