"""The families of routines with a derivative that there are: from the table that the library is made from, or from its names."""

import tomllib
from pathlib import Path

from roads import ALIASES, INDEX, NAMES

import blasad

BATCHES = ("gemm_batch", "gemm_batch_strided")  # sequences of calls of gemm, which is what tapes see of them
SOURCE = Path(__file__).parents[1] / "csrc" / "routines.toml"
DECORATIONS = (
    *("{}_", "scipy_{}_", "{}_64_", "{}_64", "{}64_", "scipy_{}_64_"),
    *("cblas_{}", "scipy_cblas_{}", "cblas_{}64_", "cblas_{}_64", "scipy_cblas_{}64_"),
)


NO_RULE = {"rotmg": "sd", "wdot": "s"}


def families() -> dict[str, str]:
    """{"gemm": "sdcz"}; the tests are also run where the sources are not."""
    if SOURCE.exists():
        table = tomllib.loads(SOURCE.read_text())["routine"]
        return {r["name"]: r["types"] for r in table if r.get("returns") != "index" and r["name"] not in NO_RULE}
    found: dict[str, str] = {}
    norms = {symbol: routine for routine, symbol in NAMES.items()}
    for name in blasad.backend.names():
        if name.startswith("cblas_") and not name.endswith(("64", "64_")):
            routine = norms.get(name[6:], name[6:].removesuffix("_sub"))
            letter, family = routine[0], routine[1:]
            if family in ALIASES or family in BATCHES or routine in INDEX or family in NO_RULE:
                continue
            found[family] = found.get(family, "") + letter
    return found


def arguments() -> dict[str, str] | None:
    """The Fortran argument lists in the table, if it is there."""
    if not SOURCE.exists():
        return None
    return {r["name"]: r["arguments"] for r in tomllib.loads(SOURCE.read_text())["routine"]}
