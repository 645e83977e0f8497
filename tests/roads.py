"""Every way into blasad: which pointer is called, how, and with integers of which width.

A call is given as the cases give it, {"call": "dgemm", "transa": "N", …} in the order of the Fortran argument list,
and is marshalled here by the names of its arguments. Where these say a buffer ("A[3]"), the caller says where it is.
"""

import ctypes
import functools
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import scipy

import blasad
from blasad import ffi

REAL = {"s": np.float32, "d": np.float64, "c": np.float32, "z": np.float64}
DTYPE = {"s": np.float32, "d": np.float64, "c": np.complex64, "z": np.complex128}
FLAGS = {
    "trans": {"N": 111, "T": 112, "C": 113},
    "uplo": {"U": 121, "L": 122},
    "diag": {"N": 131, "U": 132},
    "side": {"L": 141, "R": 142},
}
LAYOUTS = {"row": 101, "col": 102}
FLAG_NAMES = re.compile(r"trans[ab]?|uplo|side|diag")
OPERANDS = ("a", "ap", "b", "c", "s", "d1", "d2", "x1", "x", "y", "param", "dot")
REAL_OPERANDS = {"rotg": ("c",)}  # of complex routines, those of real numbers
# Of complex routines, the scalars that are real numbers.
REAL_SCALARS = {
    "her": ("alpha",),
    "hpr": ("alpha",),
    "herk": ("alpha", "beta"),
    "her2k": ("beta",),
    "rscal": ("alpha",),
    "rot": ("c", "s"),
}
LEVEL1 = re.compile(
    r"[sdcz](copy|swap|r?scal|axpy|axpby|rot|rotm|rotg|rotmg|dot|sbdot|wdot|dotu|dotc|nrm2|asum)(_sub)?"
)  # has no layout in CBLAS
RETURNING = re.compile(r"[sdcz](dot|sbdot|wdot|dotu|dotc|nrm2|asum)")
INDEX = {letter + family: f"i{letter}{family}" for family in ("amax", "amin") for letter in "sdcz"}  # return one
ALIASES = {"gemmtr": "gemmt"}  # second names
NAMES = {  # that are not so regular
    "cnrm2": "scnrm2",
    "znrm2": "dznrm2",
    "casum": "scasum",
    "zasum": "dzasum",
    "crscal": "csscal",
    "zrscal": "zdscal",
    "crot": "csrot",
    "zrot": "zdrot",
    "ssbdot": "sdsdot",
    "swdot": "dsdot",
    **INDEX,
}


def number_letter(routine: str) -> str:
    """The type of what a routine returns."""
    if routine == "swdot":
        return "d"
    return {"c": "s", "z": "d"}.get(routine[0], routine[0]) if routine[1:] in ("nrm2", "asum") else routine[0]


def scalars_of(family: str) -> tuple[str, ...]:
    """What its scalar arguments may be called."""
    return {"rot": ("c", "s"), "sbdot": ("sb",), "rotmg": ("y1",)}.get(family, ("alpha", "beta"))


Step = dict[str, Any]


def scalar_letter(routine: str, key: str) -> str:
    """The type of a scalar argument of "zherk"."""
    letter = routine[0]
    return {"c": "s", "z": "d"}.get(letter, letter) if key in REAL_SCALARS.get(routine[1:], ()) else letter


Where = Callable[[str], int]
Arguments = Mapping[str, Any]


@functools.cache
def library(package: str) -> ctypes.CDLL:
    """The OpenBLAS that the wheel of a package brings: SciPy's has 32-bit integers, NumPy's 64-bit ones."""
    folder = Path({"scipy": scipy, "numpy": np}[package].__file__).parents[1] / f"{package}.libs"
    found = sorted(folder.glob("*openblas*"))
    assert found, f"the tests need the BLAS that {package}'s wheel brings, and {folder} has none"
    return ctypes.CDLL(str(found[0]))


def real_address(package: str, symbol: str) -> int:
    """Of a routine in such a library, past blasad."""
    address = ctypes.cast(getattr(library(package), symbol), ctypes.c_void_p).value
    assert address
    return address


@functools.cache
def _wrapped(package: str, symbol: str) -> int:
    return blasad.wrap(symbol, real_address(package, symbol))


@dataclass(frozen=True)
class Road:
    """One way to call a routine: by blasad.lib.NAME ("cffi"), by the function at blasad.address(NAME) ("ctypes"), by
    blasad.wrap of a library's own routine ("wrapped"), or by that routine itself ("bare")."""

    how: str
    pattern: str  # of the symbol: "scipy_{}_64_"
    package: str = ""  # of "wrapped" and "bare"
    found: int = 0  # what somebody has found for "bare" before
    lengths: bool = False  # of the strings at the end, as Fortran compilers pass them

    @property
    def cblas(self) -> bool:
        return "cblas" in self.pattern

    @property
    def bits(self) -> int:
        return 64 if "64" in self.pattern else 32

    def __str__(self) -> str:
        return f"{self.how} {self.pattern.format('?gemm')}" + (
            f" of {self.package}" if self.package else " with lengths" if self.lengths else ""
        )

    def can(self, step: Step) -> bool:
        """Whether the call can be made this way at all: C passes real scalars by value, Fortran knows no row-major."""
        stores, returns = step["call"].endswith("_sub"), RETURNING.fullmatch(step["call"])
        if (stores and not self.cblas) or (returns and number_letter(step["call"]) in "cz" and self.cblas):
            return False  # C returns no complex numbers
        if self.cblas:
            return not any(
                isinstance(step.get(s), str) and not _is_number(step[s]) and scalar_letter(step["call"], s) in "sd"
                for s in scalars_of(step["call"][1:])
            )
        return step.get("layout", "col") == "col"

    def pointer(self, routine: str) -> int:
        symbol = self.pattern.format(NAMES.get(routine, routine))
        if self.how == "bare":
            return self.found or real_address(self.package, symbol)
        if self.how == "wrapped":
            return _wrapped(self.package, symbol)
        return blasad.address(symbol)

    def call(self, step: Step, where: Where) -> Any:
        """Makes the call. Temporaries (flags, dimensions, constant scalars) are gone when it returns. A number that is
        returned is stored as well, where the step has a place for it."""
        args = {k: v for k, v in step.items() if k not in ("call", "layout")}
        kept = args.pop("dot", None) if RETURNING.fullmatch(step["call"]) else None
        letter = step["call"][0]
        has_layout = self.cblas and not LEVEL1.fullmatch(step["call"])
        given = [LAYOUTS[step.get("layout", "col")]] if has_layout else []
        if self.how == "cffi":
            value = self._cffi(letter, step["call"], given, args, where)
        else:
            value = self._ctypes(step["call"], given, args, where)
        if kept is not None:
            number = np.array([value], DTYPE[number_letter(step["call"])])
            ctypes.memmove(where(kept), number.ctypes.data, number.nbytes)
        return value

    def _cffi(self, letter: str, routine: str, given: list[Any], args: Arguments, where: Where) -> Any:
        real = "float *" if letter in "sc" else "double *"
        integer, scalars = f"int{self.bits}_t *", scalars_of(routine[1:])
        kept = []
        for key, value in args.items():
            if FLAG_NAMES.fullmatch(key):
                given.append(_flag(key, value) if self.cblas else ffi.new("char[]", value.encode()))
            elif key in OPERANDS and key not in scalars:
                given.append(ffi.cast(real, where(value)))
            elif key in scalars:
                kind = scalar_letter(routine, key)
                number = _scalar(kind, value, where)
                if isinstance(number, int):
                    given.append(ffi.cast(real, number))
                elif self.cblas and kind in "sd":
                    given.append(float(number[0]))
                else:
                    given.append(ffi.cast(real, number.ctypes.data))
                    kept.append(number)
            else:
                given.append(value if self.cblas else ffi.new(integer, value))
        value = getattr(blasad.lib, self.pattern.format(NAMES.get(routine, routine)))(*given)
        _trash(kept)
        return value

    def _ctypes(self, routine: str, given: list[Any], args: Arguments, where: Where) -> Any:
        integer = ctypes.c_int64 if self.bits == 64 else ctypes.c_int32
        by_value = {"s": ctypes.c_float, "d": ctypes.c_double} if self.cblas else {}
        scalars = scalars_of(routine[1:])
        kinds: list[Any] = [ctypes.c_int] * len(given)
        kept = []
        for key, value in args.items():
            if FLAG_NAMES.fullmatch(key):
                kinds.append(ctypes.c_int if self.cblas else ctypes.c_char_p)
                given.append(_flag(key, value) if self.cblas else value.encode())
            elif key in OPERANDS and key not in scalars:
                kinds.append(ctypes.c_void_p)
                given.append(where(value))
            elif key in scalars:
                letter = scalar_letter(routine, key)
                kinds.append(by_value.get(letter, ctypes.c_void_p))
                number = _scalar(letter, value, where)
                if not isinstance(number, int):
                    kept.append(number)
                    number = float(number[0]) if letter in by_value else number.ctypes.data
                given.append(number)
            elif self.cblas:
                kinds.append(integer)
                given.append(value)
            else:
                # 32 bits of number and 32 of something else: whoever reads 64 gets nonsense
                kinds.append(ctypes.c_void_p)
                number = np.array([value] if self.bits == 64 else [value, 0x5BADC0DE], f"i{self.bits // 8}")
                kept.append(number)
                given.append(number.ctypes.data)
        for _ in range(sum(map(bool, map(FLAG_NAMES.fullmatch, args))) if self.lengths else 0):
            kinds.append(ctypes.c_size_t)
            given.append(1)
        result = _RESULTS[number_letter(routine)] if RETURNING.fullmatch(routine) else None
        value = _prototype(result, *kinds)(self.pointer(routine))(*given)
        _trash(kept)
        return complex(value.re, value.im) if isinstance(value, ctypes.Structure) else value


class _Float(ctypes.Structure):
    """A complex number is returned as this is."""

    _fields_ = (("re", ctypes.c_float), ("im", ctypes.c_float))


class _Double(ctypes.Structure):
    _fields_ = (("re", ctypes.c_double), ("im", ctypes.c_double))


_RESULTS = {"s": ctypes.c_float, "d": ctypes.c_double, "c": _Float, "z": _Double}


@functools.cache
def _prototype(result: Any, *kinds: Any) -> Any:
    return ctypes.CFUNCTYPE(result, *kinds)


def _flag(key: str, value: str) -> int:
    return FLAGS["trans" if key.startswith("trans") else key].get(value.upper(), 119)


def _is_number(text: str) -> bool:
    try:
        complex(text)
    except ValueError:
        return False
    return True


def _scalar(letter: str, value: Any, where: Where) -> Any:
    """The address of a scalar in somebody's buffer, or a temporary that holds it."""
    if isinstance(value, str) and not _is_number(value):
        return where(value)
    return np.array([complex(value) if letter in "cz" else float(value)], DTYPE[letter])


def _trash(temporaries: list[np.ndarray]) -> None:
    for x in temporaries:
        x.view(np.uint8)[:] = 0xEE


FORTRAN = (
    Road("cffi", "{}_"),
    Road("cffi", "{}_64_"),
    Road("ctypes", "{}_"),
    Road("ctypes", "scipy_{}_64_"),
    Road("wrapped", "scipy_{}_", "scipy"),
    Road("wrapped", "scipy_{}_64_", "numpy"),
)
CBLAS = (
    Road("cffi", "cblas_{}"),
    Road("cffi", "scipy_cblas_{}64_"),
    Road("ctypes", "cblas_{}"),
    Road("ctypes", "cblas_{}64_"),
    Road("wrapped", "scipy_cblas_{}", "scipy"),
    Road("wrapped", "scipy_cblas_{}64_", "numpy"),
)
ROADS = FORTRAN + CBLAS
WITH_LENGTHS = (Road("ctypes", "{}_", lengths=True), Road("ctypes", "{}_64_", lengths=True))
BARE = (Road("bare", "scipy_{}_", "scipy"), Road("bare", "scipy_cblas_{}64_", "numpy"))


def place(memory: Mapping[str, np.ndarray]) -> Where:
    """Resolves "A[3]" and "A" to addresses in these buffers."""

    def where(text: str) -> int:
        name, index = re.fullmatch(r"(\w+)(?:\[(-?\d+)\])?", text).groups()  # type: ignore[union-attr]
        return memory[name].ctypes.data + int(index or 0) * memory[name].itemsize

    return where


def gemm(
    memory: Mapping[str, np.ndarray], c: str, a: str, b: str, *, order: int = 2, road: Road = ROADS[0], **changes: Any
) -> None:
    """C <- A B with square matrices of this order in these buffers, but for what `changes` says."""
    letter = {np.dtype(t): l for l, t in DTYPE.items()}[next(iter(memory.values())).dtype]
    step: Step = {"call": f"{letter}gemm", "transa": "N", "transb": "N", "m": order, "n": order, "k": order}
    step |= {"alpha": 1.0, "a": a, "lda": order, "b": b, "ldb": order, "beta": 0.0, "c": c, "ldc": order}
    road.call({**({"layout": changes.pop("layout")} if "layout" in changes else {}), **step, **changes}, place(memory))
