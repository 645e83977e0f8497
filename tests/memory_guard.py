"""Buffers with guard bytes around and between them, so that a byte written where it does not belong shows."""

import numpy as np

# Read as float or double these bytes are numbers of moderate size: what is read of them spoils a result, and adding
# to them, scaling or clearing them changes them.
GUARD = np.frombuffer(bytes.fromhex("c1 4d 5a 42 91 7e 33 41"), np.uint8)
ROOM = 64  # bytes between two buffers


def bits(x: np.ndarray) -> bytes:
    """The bytes of the elements, in index order: equal where `==` is not, as for NaN."""
    return np.ascontiguousarray(x).tobytes()


class Pen:
    """One block of bytes in which all buffers of a test live.

    Every buffer is aligned to its elements and to nothing more, as memory inside somebody's struct is.
    """

    def __init__(self, size: int = 1 << 18) -> None:
        self.block = np.tile(GUARD, size // GUARD.size)
        self.end = 0
        self.gaps: list[slice] = []

    def memory(self, dtype: object, count: int) -> np.ndarray:
        """A new buffer of `count` zeros, one-dimensional."""
        dtype = np.dtype(dtype)
        start = self.end + ROOM
        start += -(self.block.ctypes.data + start) % dtype.itemsize
        stop = start + count * dtype.itemsize
        assert stop + ROOM <= self.block.size, "the pen is full"
        self.gaps.append(slice(self.end, start))
        self.end = stop
        x = self.block[start:stop].view(dtype)
        x[:] = 0
        return x

    def copy(self, x: np.ndarray) -> np.ndarray:
        """A new buffer that holds what `x` does."""
        out = self.memory(x.dtype, x.size)
        out[:] = x
        return out

    def check(self) -> None:
        """Every byte that belongs to no buffer is as it was."""
        for gap in [*self.gaps, slice(self.end, self.block.size)]:
            first = gap.start // GUARD.size * GUARD.size
            expected = np.tile(GUARD, -(-(gap.stop - first) // GUARD.size))[gap.start - first :][: gap.stop - gap.start]
            changed = np.flatnonzero(self.block[gap] != expected)
            assert not changed.size, f"bytes {(gap.start + changed).tolist()} between the buffers were written"


def spoil(x: np.ndarray) -> None:
    """Fills padding with what must be neither read nor written: NaN with a payload, and numbers."""
    parts = x.view(x.real.dtype)
    parts[0::3] = 12345.625
    parts[1::3] = np.inf
    nan = np.array([0x7FC12345], np.uint32) if parts.itemsize == 4 else np.array([0x7FF8123456789ABC], np.uint64)
    parts[2::3] = nan.view(parts.dtype)
