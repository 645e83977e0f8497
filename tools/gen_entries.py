#!/usr/bin/env python3
"""Makes, from csrc/routines.toml, everything that is one line per routine, type, ABI or name.

    python tools/gen_entries.py csrc/routines.toml OUTDIR

routines.h    enums of routines and symbols
specs.h       what each routine looks like, as constants that a compiler can fold; a list of the exported ones
table.c       the same by number (call.h)
entries.c     one entry per routine, type and ABI: arguments -> canonical call; the table of symbols (entry.h)
callers.c     the way back: canonical call -> arguments of the BLAS
names.inc     the thunk of every exported name, for thunk.S
names_cdef.h  the same names as cffi declarations
names_map.h   their names as C symbols, so that no symbol of ours collides with somebody's BLAS
"""

import sys
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

REAL = {"s": "float", "d": "double", "c": "float", "z": "double"}
WIDTH = {"s": 4, "d": 8, "c": 4, "z": 8}
SIZE = {"s": 4, "d": 8, "c": 8, "z": 16}
ABIS = ("f32", "f64", "c32", "c64")
# Decorations seen in the wild: reference, reference ILP64, OpenBLAS with suffix 64, and SciPy's and NumPy's wheels.
NAMES = {
    "f32": ("{}_", "scipy_{}_"),
    "f64": ("{}_64_", "{}_64", "{}64_", "scipy_{}_64_"),
    "c32": ("cblas_{}", "scipy_cblas_{}"),
    "c64": ("cblas_{}64_", "cblas_{}_64", "scipy_cblas_{}64_"),
}
FLAGS, DIMS, SCALARS = ("trans", "uplo", "side", "diag"), ("m", "n", "k", "kl", "ku"), ("alpha", "beta")


@dataclass
class Argument:
    """One name of an argument list: its kind, and where the canonical call keeps it."""

    name: str
    kind: str  # flag, dim, scalar, operand, ld
    index: int

    @property
    def field(self) -> str:
        return {
            "flag": "flag[{}]",
            "dim": "dim[{}]",
            "scalar": "scalar[{}]",
            "operand": "operand[{}].base",
            "ld": "operand[{}].ld",
        }[self.kind].format(self.index)


class Routine:
    def __init__(self, entry: dict[str, Any], exported: bool) -> None:
        self.name, self.types, self.exported = entry["name"], entry["types"], exported
        self.operands = entry["operands"]
        names = [o["name"] for o in self.operands]
        self.arguments: list[Argument] = []
        for word in entry["arguments"].split():
            if word.startswith(FLAGS):
                kind = "flag"
            elif word in DIMS:
                kind = "dim"
            elif word in SCALARS:
                kind = "scalar"
            else:
                kind = "ld" if word.startswith("ld") else "operand"
            index = (
                names.index(word.removeprefix("ld"))
                if kind in ("ld", "operand")
                else sum(a.kind == kind for a in self.arguments)
            )
            self.arguments.append(Argument(word, kind, index))
        self.swap = {a: b for pair in entry.get("row_major", []) for a, b in (pair, pair[::-1])}

    def of(self, kind: str) -> list[Argument]:
        return [a for a in self.arguments if a.kind == kind]

    def argument(self, name: str) -> Argument:
        return next(a for a in self.arguments if a.name == name)

    def check(self) -> str:
        """The Fortran position of the first argument that the reference calls an error, else 0."""
        tests = []
        for position, a in enumerate(self.arguments, 1):
            if a.kind == "flag":
                tests.append((f"!bl_is_trans(call.{a.field})", position))
            elif a.kind == "dim":
                tests.append((f"call.{a.field} < 0", position))
            elif a.kind == "ld":
                o = self.operands[a.index]
                rows = f"call.{self.argument(o['rows']).field}"
                if "trans" in o:
                    rows = (
                        f"(call.{self.argument(o['trans']).field} == 'N' ? {rows} : "
                        f"call.{self.argument(o['cols']).field})"
                    )
                tests.append((f"call.{a.field} < ({rows} > 1 ? {rows} : 1)", position))
        return "".join(f"{test}\n            ? {position}\n            : " for test, position in tests) + "0"


def c_type(a: Argument, t: str, abi: str) -> str:
    integer = "int32_t" if abi.endswith("32") else "int64_t"
    if abi[0] == "f":
        return {
            "flag": "const char *",
            "dim": f"const {integer} *",
            "ld": f"const {integer} *",
            "scalar": f"const {REAL[t]} *",
            "operand": f"{REAL[t]} *",
        }[a.kind]
    return {
        "flag": "int ",
        "dim": f"{integer} ",
        "ld": f"{integer} ",
        "operand": f"{REAL[t]} *",
        "scalar": f"const {REAL[t]} *" if t in "cz" else f"{REAL[t]} ",
    }[a.kind]


def parameters(r: Routine, t: str, abi: str) -> str:
    declared = [f"{c_type(a, t, abi)}{a.name}" for a in r.arguments]
    return ", ".join(["int layout"] * (abi[0] == "c") + declared)


def pointer(r: Routine, t: str, abi: str) -> str:
    """The type of the implementation, hidden lengths included."""
    hidden = ", size_t" * (len(r.of("flag")) if abi[0] == "f" else 0)
    return f"void (*)({parameters(r, t, abi)}{hidden})"


def entry(r: Routine, t: str, abi: str) -> str:
    fortran = abi[0] == "f"
    given = ", ".join(
        ["layout"] * (not fortran) + [a.name for a in r.arguments] + ["1"] * (fortran * len(r.of("flag")))
    )

    def fill(swap: dict[str, str]) -> list[str]:
        lines = []
        for a in r.arguments:
            source = swap.get(a.name, a.name)
            if a.kind == "flag":
                lines.append(f"call.{a.field} = bl_flag_{'fortran' if fortran else 'cblas'}({source});")
            elif a.kind == "scalar":
                lines.append(
                    f"bl_take_{t}(&call.{a.field}, {source});"
                    if fortran or t in "cz"
                    else f"call.{a.field} = (bl_scalar){{{{{source}, 0}}, NULL}};"
                )
            else:
                lines.append(f"call.{a.field} = {'*' * (fortran and a.kind != 'operand')}{source};")
        return lines

    head = [
        f"static void bl_{t}{r.name}_{abi}({parameters(r, t, abi)})",
        "{",
        "    const bl_binding *g = bl_thread_state.bound;",
        "    void (*real)(void) = bl_quiet(g);",
        "    if (real) {",
        f"        (({pointer(r, t, abi)})real)({given});",
        "        return;",
        "    }",
        "    bl_call call;",
        f"    call.routine = BL_{r.name.upper()}, call.type = BL_{t.upper()}, "
        f"call.size = {SIZE[t]}, call.width = {WIDTH[t]}, call.caller = __builtin_return_address(0);",
    ]
    if fortran:
        body = ["    call.row_major = false;"] + [f"    {line}" for line in fill({})]
        argument = f"({r.check()})"
    else:
        body = [
            "    call.row_major = layout == 101;",
            "    if (call.row_major) {",
            *(f"        {x}" for x in fill(r.swap)),
            "    } else {",
            *(f"        {x}" for x in fill({})),
            "    }",
        ]
        argument = f"(layout != 101 && layout != 102 ? BL_BAD_LAYOUT : {r.check()})"
    tail = [
        f"    const enum bl_next next = bl_enter(&call, g, {argument});",
        "    if (next == BL_DONE)",
        "        return;",
        f"    (({pointer(r, t, abi)})g->real)({given});",
        "    if (next >= BL_CALL)",
        "        bl_thread_state.inside = false;",
        "    if (next == BL_CALL_AFTER)",
        "        bl_leave(&call);",
        "}",
        "",
    ]
    return "\n".join(head + body + tail)


def caller(r: Routine, t: str, abi: str) -> str:
    """Arguments out of the canonical call, in order, as the ABI passes them."""
    integer = "int32_t" if abi.endswith("32") else "int64_t"
    fortran, parts, local = abi[0] == "f", ["102"] * (abi[0] == "c"), []
    for a in r.arguments:
        if a.kind == "flag":
            parts.append(f"&c->{a.field}" if fortran else f"bl_cblas_flag(c->{a.field})")
        elif a.kind in ("dim", "ld"):
            if fortran and integer == "int32_t":
                local.append(f"const int32_t {a.name} = (int32_t)c->{a.field};")
            parts.append(
                f"({integer})c->{a.field}"
                if not fortran
                else f"&{a.name}"
                if integer == "int32_t"
                else f"&c->{a.field}"
            )
        elif a.kind == "scalar":
            value = f"c->{a.field}.value"
            local.append(f"const {REAL[t]} {a.name}[] = {{({REAL[t]}){value}.re, ({REAL[t]}){value}.im}};")
            parts.append(a.name if fortran or t in "cz" else f"{a.name}[0]")
        else:
            parts.append(f"c->{a.field}")
    parts += ["1"] * (fortran * len(r.of("flag")))
    return "\n".join(
        [
            f"static void call_{t}{r.name}_{abi}(const bl_call *c, void (*f)(void))",
            "{",
            *(f"    {x}" for x in local),
            f"    (({pointer(r, t, abi)})f)({', '.join(parts)});",
            "}",
            "",
        ]
    )


def strings(name: str, values: list[str]) -> str:
    return (
        f"static const char *const {name}[] = {{{', '.join([f'{chr(34)}{v}{chr(34)}' for v in values] + ['NULL'])}}};"
    )


def spec(r: Routine) -> tuple[str, str]:
    """The row of a routine in the table, and the arrays that it points to."""
    arrays = [strings(f"{r.name}_{k}s", [a.name for a in r.of(k)]) for k in ("flag", "dim", "scalar")]
    arrays.append(strings(f"{r.name}_arguments", [a.name for a in r.arguments]))
    pairs = ", ".join(f'{{"{a}", "{b}"}}' for a, b in r.swap.items()) + ", " * bool(r.swap) + "{NULL, NULL}"
    arrays.append(f"static const char *const {r.name}_row_major[][2] = {{{pairs}}};")

    def where(name: str | None, otherwise: str) -> str:
        return otherwise if name in (None, "1") else str(r.argument(name).index)

    operands = ", ".join(
        f'{{"{o["name"]}", {str(o["role"] != "in").lower()}, {where(o["rows"], "BL_DIM_ONE")}, '
        f"{where(o['cols'], 'BL_DIM_ONE')}, {where(o.get('trans'), 'BL_NEVER')}}}"
        for o in r.operands
    )
    row = (
        f'static const bl_routine_spec bl_spec_{r.name} = {{"{r.name}", {r.name}_flags, {r.name}_dims, {r.name}_scalars, '
        f"{r.name}_arguments, {r.name}_row_major, {len(r.of('flag'))}, {len(r.of('dim'))}, "
        f"{len(r.of('scalar'))}, {len(r.operands)}, {{{operands}}}}};"
    )
    return "\n".join(arrays), row


def main(source: str, out: str) -> None:
    data = tomllib.loads(Path(source).read_text())
    routines = [Routine(e, True) for e in data["routine"]]
    everything = routines + [Routine(e, False) for e in data["kernel"]]
    bodies = [(r, t, abi) for r in routines for t in r.types for abi in ABIS]
    names = [(pattern.format(t + r.name), r, t, abi) for r, t, abi in bodies for pattern in NAMES[abi]]
    arrays, rows = zip(*map(spec, everything), strict=True)
    files = {
        "routines.h": "\n".join(
            [
                "#ifndef BL_ROUTINES_H",
                "#define BL_ROUTINES_H",
                f"enum bl_routine {{ {', '.join(f'BL_{r.name.upper()}' for r in everything)}, BL_ROUTINES }};",
                f"#define BL_FIRST_KERNEL BL_{everything[len(routines)].name.upper()}",
                f"enum {{ BL_SYMBOLS = {len(names)} }};",
                "#endif",
                "",
            ]
        ),
        "specs.h": "\n".join(
            [
                "#ifndef BL_SPECS_H",
                "#define BL_SPECS_H",
                '#include "call.h"',
                *arrays,
                *rows,
                f"#define BL_EACH_ROUTINE(X) {' '.join(f'X({r.name}, {r.name.upper()})' for r in routines)}",
                "#endif",
                "",
            ]
        ),
        "table.c": "\n".join(
            [
                '#include "specs.h"',
                "const bl_routine_spec *const bl_routine_table[BL_ROUTINES] = {",
                *(f"    [BL_{r.name.upper()}] = &bl_spec_{r.name}," for r in everything),
                "};",
                "",
            ]
        ),
        "entries.c": "\n".join(
            [
                '#include "entry.h"',
                "",
                *(entry(*b) for b in bodies),
                *(f"void blasad_entry_{n}(void);" for n, *_ in names),
                "const bl_symbol_info bl_symbol_table[BL_SYMBOLS] = {",
                *(
                    f'    {{"{n}", blasad_entry_{n}, (void (*)(void))bl_{t}{r.name}_{abi}, BL_{r.name.upper()}, '
                    f"BL_{t.upper()}, BL_{abi.upper()}}},"
                    for n, r, t, abi in names
                ),
                "};",
                "bl_binding bl_name_binding[BL_SYMBOLS] = {",
                *(
                    f"    {{(void (*)(void))bl_{t}{r.name}_{abi}, NULL, NULL, {i}}},"
                    for i, (n, r, t, abi) in enumerate(names)
                ),
                "};",
                "",
            ]
        ),
        "callers.c": "\n".join(
            [
                '#include "backend.h"',
                "",
                "static int bl_cblas_flag(char c) { return c == 'N' ? 111 : c == 'T' ? 112 : c == 'C' ? 113 : 0; }",
                "",
                *(caller(*b) for b in bodies),
                "const bl_caller bl_callers[BL_FIRST_KERNEL][4][BL_ABIS] = {",
                *(
                    f"    [BL_{r.name.upper()}][BL_{t.upper()}][BL_{abi.upper()}] = call_{t}{r.name}_{abi},"
                    for r, t, abi in bodies
                ),
                "};",
                "",
            ]
        ),
        "names.inc": "".join(f"BL_NAME {n}, {i}\n" for i, (n, *_) in enumerate(names)),
        "names_cdef.h": "".join(f"void {n}({parameters(r, t, abi)});\n" for n, r, t, abi in names),
        "names_map.h": "".join(f"#define {n} blasad_entry_{n}\n" for n, *_ in names),
    }
    Path(out).mkdir(parents=True, exist_ok=True)
    for name, text in files.items():
        comment = "" if name == "names.inc" else "/* Made by tools/gen_entries.py from csrc/routines.toml. */\n"
        Path(out, name).write_text(comment + text)


if __name__ == "__main__":
    main(*sys.argv[1:])
