"""What an argument says of the memory behind it: address, element type, shape and strides."""

import ctypes
import math
from typing import Any, NamedTuple

import numpy as np

from ._core import ffi, lib

# The numbers of BLAS, and bytes whose type the first call tells.
TYPES: dict[np.dtype[Any], int] = {
    np.dtype(np.float32): lib.BLASAD_FLOAT,
    np.dtype(np.float64): lib.BLASAD_DOUBLE,
    np.dtype(np.complex64): lib.BLASAD_COMPLEX_FLOAT,
    np.dtype(np.complex128): lib.BLASAD_COMPLEX_DOUBLE,
}
_NAMED = "float32, float64, complex64 or complex128"
_CFFI: dict[str, np.dtype[Any]] = {
    "float": np.dtype(np.float32),
    "double": np.dtype(np.float64),
    "float _Complex": np.dtype(np.complex64),
    "double _Complex": np.dtype(np.complex128),
}


class Memory(NamedTuple):
    """Elements somewhere in memory.

    Attributes
    ----------
    address : int
        Of the element with all indices 0.
    dtype : numpy.dtype or None
        None for plain bytes.
    shape, strides : tuple of int
        Strides in bytes. Plain bytes are one axis.
    writable : bool
    owner : object
        Kept alive by whoever keeps this.
    """

    address: int
    dtype: np.dtype[Any] | None
    shape: tuple[int, ...]
    strides: tuple[int, ...]
    writable: bool
    owner: object

    @property
    def nbytes(self) -> int:
        return math.prod(self.shape) * (self.dtype.itemsize if self.dtype else 1)

    def array(self) -> "np.ndarray[Any, np.dtype[Any]]":
        """The elements as an array over the same memory; plain bytes are refused."""
        if self.dtype is None:
            raise TypeError("plain bytes are no numbers; say which they are with dtype=")
        if self.nbytes == 0:
            return np.empty(self.shape, self.dtype)
        low = sum(min(0, s * (n - 1)) for s, n in zip(self.strides, self.shape, strict=True))
        high = sum(max(0, s * (n - 1)) for s, n in zip(self.strides, self.shape, strict=True)) + self.dtype.itemsize
        block = (ctypes.c_char * (high - low)).from_address(self.address + low)
        return np.ndarray(self.shape, self.dtype, np.frombuffer(memoryview(block), np.uint8), -low, self.strides)


def describe(
    x: object, what: str, *, nbytes: int | None = None, count: int | None = None, dtype: object = None
) -> Memory:
    """The memory behind an argument.

    Parameters
    ----------
    x : array, ctypes or cffi array or pointer, or address
    what : str
        How messages call it.
    nbytes, count : int, optional
        The size of what a pointer points to, in bytes or elements.
    dtype : dtype, optional
        The element type behind an untyped pointer.

    Raises
    ------
    TypeError, ValueError
        Naming `what` and the way out.
    """
    sized = nbytes is not None or count is not None
    if isinstance(x, np.ndarray):
        if sized or dtype is not None:
            raise TypeError(f"{what}: an array knows its size and type; nbytes=, count= and dtype= are for pointers")
        if x.dtype not in TYPES:
            raise TypeError(f"{what} has dtype {x.dtype}; BLAS computes with {_NAMED}: convert it (x.astype(float))")
        if not x.flags.aligned:
            raise ValueError(f"{what} is not aligned to its {x.dtype.itemsize}-byte elements; copy it (x.copy())")
        return Memory(x.ctypes.data, x.dtype, x.shape, x.strides, x.flags.writeable, x)
    address, known, length = _pointer(x, what)
    if length is not None:
        if sized:
            raise TypeError(f"{what}: a {type(x).__name__} knows its size; nbytes= and count= are for pointers")
        count = length
    element = np.dtype(dtype) if dtype is not None else known  # type: ignore[call-overload]
    if element is not None and element not in TYPES:
        raise TypeError(f"{what} points to {element}; BLAS computes with {_NAMED}")
    if address == 0:
        raise ValueError(f"{what} is a NULL pointer: there is no memory to annotate")
    if nbytes is None and count is None:
        raise ValueError(
            f"{what} is a pointer without a size: say how much it points to, with count= (elements) or nbytes="
        )
    if nbytes is not None and count is not None:
        raise ValueError(f"{what}: nbytes= and count= say the same thing; give one of them")
    for size in (nbytes, count):
        if size is not None and not 0 <= size < 2**56:  # more than any address space
            raise ValueError(f"{what}: a size of {size}")
    if not 0 < address < 2**63 or address % (4 if element is None else element.itemsize // (1 + (element.kind == "c"))):
        raise ValueError(f"{what}: {address:#x} is no address of such numbers")
    if element is None:
        if nbytes is None:
            raise ValueError(f"{what} is an untyped pointer: give nbytes=, or dtype= with count=")
        if nbytes % 4:
            raise ValueError(f"{what}: {nbytes} bytes are not a number of floats or doubles")
        return Memory(address, None, (nbytes,), (1,), True, x)
    if count is None:
        assert nbytes is not None
        count, rest = divmod(nbytes, element.itemsize)
        if rest:
            raise ValueError(f"{what}: {nbytes} bytes are no whole number of {element} ({element.itemsize} bytes each)")
    return Memory(address, element, (count,), (element.itemsize,), True, x)


def _pointer(x: object, what: str) -> tuple[int, np.dtype[Any] | None, int | None]:
    """Address, element type and number of elements, as far as the object itself knows them."""
    if isinstance(x, (int, np.integer)) and not isinstance(x, bool):
        return int(x), None, None
    if isinstance(x, ffi.CData):
        kind = ffi.typeof(x)
        if kind.kind == "array":
            length = 1
            while kind.kind == "array":
                length, kind = length * (len(x) if kind.length is None else kind.length), kind.item
            return int(ffi.cast("uintptr_t", x)), _named(kind.cname, what), length
        if kind.kind == "pointer":
            item = None if kind.item.kind == "void" else _named(kind.item.cname, what)
            return int(ffi.cast("uintptr_t", x)), item, None
    if isinstance(x, ctypes.Array):
        inner: Any = type(x)
        length = 1
        while issubclass(inner, ctypes.Array):
            length, inner = length * inner._length_, inner._type_
        return ctypes.addressof(x), _ctype(inner, what), length
    if isinstance(x, (ctypes.c_double, ctypes.c_float)):
        return ctypes.addressof(x), _ctype(type(x), what), 1
    if isinstance(x, ctypes.c_void_p):
        return x.value or 0, None, None
    if isinstance(x, ctypes._Pointer):
        return ctypes.cast(x, ctypes.c_void_p).value or 0, _ctype(x._type_, what), None
    raise TypeError(
        f"{what} is a {type(x).__name__}; memory is a NumPy array, a ctypes or cffi array or pointer, or an address"
    )


def _named(name: Any, what: str) -> np.dtype[Any]:
    if name not in _CFFI:
        raise TypeError(f"{what} is memory of {name}; BLAS computes with {_NAMED}")
    return _CFFI[name]


def _ctype(kind: type, what: str) -> np.dtype[Any]:
    if kind not in (ctypes.c_float, ctypes.c_double):
        raise TypeError(f"{what} is memory of {kind.__name__}; BLAS computes with {_NAMED} (dtype= says what it is)")
    return np.dtype(kind)


def shadow(x: "np.ndarray[Any, np.dtype[Any]]") -> "np.ndarray[Any, np.dtype[Any]]":
    """Zeros with the dtype, the shape and the strides of `x`.

    Parameters
    ----------
    x : ndarray
        float32, float64, complex64 or complex128; no stride may be 0.

    Returns
    -------
    ndarray
        Memory of its own; what lies between its elements belongs to nobody.
    """
    memory = describe(x, "shadow(x)")
    if memory.nbytes == 0:
        return np.zeros(x.shape, x.dtype)
    if any(s == 0 and n > 1 for s, n in zip(memory.strides, memory.shape, strict=True)):
        raise ValueError(
            "shadow(x): x has stride 0, so several of its elements are one; take the array it was broadcast from"
        )
    steps = [s * (n - 1) for s, n in zip(memory.strides, memory.shape, strict=True)]
    low, high = sum(min(0, s) for s in steps), sum(max(0, s) for s in steps) + x.dtype.itemsize
    # np.zeros aligns to 16 bytes at least, and strides are multiples of what x itself is aligned to
    return np.ndarray(x.shape, x.dtype, np.zeros(high - low, np.uint8), -low, x.strides)
