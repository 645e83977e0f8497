"""Covering arrays: few rows in which every combination of levels of any three parameters occurs."""

import itertools
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from typing import Any

import numpy as np

CANDIDATES = 4


@cache
def _rows(sizes: tuple[int, ...]) -> np.ndarray:
    """Of strength 3 for parameters of these sizes, greedily (Cohen et al., The AETG system, IEEE TSE 23(7), 1997)."""
    rng = np.random.default_rng(sum(size * 7**i for i, size in enumerate(sizes)))
    owner = np.repeat(np.arange(len(sizes)), sizes)
    first = np.cumsum([0, *sizes])
    missing = (owner[:, None, None] != owner[:, None]) & (owner[:, None, None] != owner) & (owner[:, None] != owner)
    rows = []
    while missing.any():
        best, most = None, -1
        start = rng.choice(np.argwhere(missing))
        for _ in range(CANDIDATES):
            chosen = list(start)
            for parameter in rng.permutation([p for p in range(len(sizes)) if p not in owner[start]]):
                levels = np.arange(first[parameter], first[parameter + 1])
                gain = missing[levels][:, chosen][:, :, chosen].sum(axis=(1, 2))
                chosen.append(rng.choice(levels[gain == gain.max()]))
            if (gain := missing[np.ix_(chosen, chosen, chosen)].sum()) > most:
                best, most = chosen, gain
        missing[np.ix_(best, best, best)] = False
        rows.append(np.sort(best) - first[:-1])
    return np.array(rows)


def covering(parameters: Mapping[str, Sequence[Any]], seed: int) -> Iterator[dict[str, Any]]:
    """Rows that cover all combinations of three, other rows for each seed; parameters have 1 level or more."""
    rng = np.random.default_rng(seed)
    free = {name: levels for name, levels in parameters.items() if len(levels) > 1}
    fixed = {name: levels[0] for name, levels in parameters.items() if len(levels) == 1}
    names = sorted(free, key=lambda name: (len(free[name]), rng.random()))
    order = {name: rng.permutation(len(free[name])) for name in names}
    for row in rng.permutation(_rows(tuple(len(free[name]) for name in names))):
        yield fixed | {name: free[name][order[name][i]] for name, i in zip(names, row, strict=True)}


def uncovered(parameters: Mapping[str, Sequence[Any]], rows: Sequence[dict[str, Any]]) -> int:
    """How many combinations of three are missing."""
    count = 0
    for three in itertools.combinations(parameters, min(3, len(parameters))):
        wanted = np.prod([len(parameters[name]) for name in three])
        count += wanted - len({tuple(row[name] for name in three) for row in rows})
    return int(count)
