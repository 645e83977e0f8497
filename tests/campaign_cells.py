"""Sets of cells as Python integers, one bit a cell, and what a call does to them."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np

Bits = int


def bits_of(cells: Iterable[int]) -> Bits:
    out = 0
    for c in cells:
        out |= 1 << c
    return out


def bits_where(marked: np.ndarray) -> Bits:
    return int.from_bytes(np.packbits(marked, bitorder="little").tobytes(), "little")


def flags_of(bits: Bits, count: int) -> np.ndarray:
    packed = np.frombuffer(bits.to_bytes(-(-count // 8), "little"), np.uint8)
    return np.unpackbits(packed, count=count, bitorder="little").view(bool)


def cells_of(bits: Bits) -> list[int]:
    return [i for i in range(bits.bit_length()) if bits >> i & 1]


@dataclass
class Footprint:
    """What a call accesses and needs (sections 1, 4 and 6; `oracles.Access` on cells)."""

    at: dict[str, np.ndarray]  # first cells, in the shape of the operand
    bits: dict[str, Bits]
    value: dict[str, complex]  # of scalars
    scalars: dict[str, Bits]  # the active ones
    reads: dict[str, Bits]
    writes: Bits
    results: dict[str, Bits]  # whose derivative changes
    with_shadow: frozenset[str]  # operands that are read, and active in part
    needs: Bits  # as the call finds them
    left: Bits = 0  # and as it leaves them
    whole: frozenset[str] = frozenset()  # operands that are arrays, and not triangles
    trace: Any = None

    @property
    def active(self) -> bool:
        return bool(self.with_shadow or self.scalars)

    @property
    def result(self) -> Bits:
        return union(self.results.values())

    @property
    def read(self) -> Bits:
        return union((*self.reads.values(), *self.scalars.values()))

    @property
    def touches(self) -> Bits:
        return self.read | self.result


def union(sets: Iterable[Bits]) -> Bits:
    out = 0
    for x in sets:
        out |= x
    return out


class Derivative:
    """The Jacobian of all cells by the annotated ones, and a bound of the moduli that its entries are summed from."""

    def __init__(self, cells: int, annotated: list[int]) -> None:
        self.by = np.zeros((len(annotated), cells))
        self.by[np.arange(len(annotated)), annotated] = 1
        self.bound = np.zeros(cells)
        self.bound[annotated] = 1

    def cut(self, cells: list[int] | np.ndarray) -> None:
        self.by[:, cells] = 0
        self.bound[cells] = 0
