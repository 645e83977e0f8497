#!/usr/bin/env python3
"""Makes, from csrc/routines.toml, everything that is one line per routine, type, ABI or name.

    python tools/gen_entries.py csrc/routines.toml OUTDIR

routines.h    enums of routines and symbols; lists of routines and of kernels
specs.h       what each routine looks like, as constants that a compiler can fold
table.c       the same by number (call.h)
entries.c     one entry per routine, type and ABI: arguments -> canonical call; the table of symbols (entry.h)
callers.c     the way back: canonical call -> arguments of the BLAS; entries and callers of Fortran functions that return a
              complex number through a hidden first argument are in tables of their own
made.h        one function per routine that makes such a call, for rules
names.inc     the thunk of every exported name, for thunk.S
names_cdef.h  the same names as cffi declarations
names_map.h   their names as C symbols, so that no symbol of ours collides with somebody's BLAS
"""

import sys
import tomllib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

REAL = {"s": "float", "d": "double", "c": "float", "z": "double"}
WIDTH = {"s": 4, "d": 8, "c": 4, "z": 8}
REAL_LETTER = {"s": "s", "d": "d", "c": "s", "z": "d"}
SIZE = {"s": 4, "d": 8, "c": 8, "z": 16}
ABIS = ("f32", "f64", "c32", "c64")
HIDDEN = ("h32", "h64")  # Fortran, where a complex number is returned through a hidden first argument
# Decorations seen in the wild: reference, reference ILP64, OpenBLAS with suffix 64, and SciPy's and NumPy's wheels.
NAMES = {
    "f32": ("{}_", "scipy_{}_"),
    "f64": ("{}_64_", "{}_64", "{}64_", "scipy_{}_64_"),
    "c32": ("cblas_{}", "scipy_cblas_{}"),
    "c64": ("cblas_{}64_", "cblas_{}_64", "scipy_cblas_{}64_"),
}
FLAGS, DIMS = ("trans", "conj", "uplo", "side", "diag"), ("m", "n", "k", "kl", "ku")


@dataclass
class Argument:
    """One name of an argument list: its kind, and where the canonical call keeps it."""

    name: str
    kind: str  # flag, dim, scalar, operand, ld (or increment)
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
        self.operands, self.level1 = entry["operands"], entry.get("level1", False)
        self.same = entry.get("same", False)
        self.transposes, self.real = entry.get("transposes", "NTC"), entry.get("real", [])
        self.named = {t: entry.get("names", {}).get(t, t + self.name) for t in self.types}
        self.aliases = {t: t + entry["alias"] for t in self.types if "alias" in entry}
        names = [o["name"] for o in self.operands]
        self.index = entry.get("returns") == "index"
        self.result = names.index(entry["returns"]) if "returns" in entry and not self.index else None
        self.arguments: list[Argument] = []
        for word in entry["arguments"].split():
            if word in names:
                kind = "operand"
            elif word.startswith(FLAGS):
                kind = "flag"
            elif word in DIMS:
                kind = "dim"
            else:
                kind = "ld" if word.startswith(("ld", "inc")) else "scalar"
            index = (
                names.index(word.removeprefix("ld").removeprefix("inc"))
                if kind in ("ld", "operand")
                else sum(a.kind == kind for a in self.arguments)
            )
            self.arguments.append(Argument(word, kind, index))
        turned = entry.get("row_major", {})
        self.swap = {a: b for pair in turned.get("swap", []) for a, b in (pair, pair[::-1])}
        self.turn = turned.get("turn", [])
        self.rotation = next((o["name"] for o in self.operands if o.get("storage") == "rotation"), None)
        self.hidden_flag: Argument | None = None  # not an argument
        if "conj" in self.turn or self.rotation:
            self.hidden_flag = Argument("form" if self.rotation else "conj", "flag", len(self.of("flag")))

    def letter(self, a: Argument, t: str) -> str:
        """The type of an argument in the routine of type `t`."""
        return REAL_LETTER[t] if a.name in self.real else t

    def number(self, t: str) -> str:
        """The C type of what it returns."""
        complex_number = t in "cz" and not self.operands[self.result or 0].get("real", False)
        if self.operands[self.result or 0].get("wide", False):
            return "double"
        return f"{REAL[t]} _Complex" if complex_number else REAL[t]

    def through(self, t: str, abi: str) -> bool:
        """Whether it stores its value through an argument of the program's own."""
        return self.result is not None and self.number(t).endswith("Complex") and abi[0] in "ch"

    def returned(self, t: str, abi: str) -> str:
        if self.index:  # CBLAS counts from 0
            return "size_t" if abi[0] == "c" else f"int{abi[1:]}_t"
        return "void" if self.result is None or self.through(t, abi) else self.number(t)

    def symbol(self, t: str, abi: str) -> str:
        return f"{self.named[t]}_sub" if abi[0] == "c" and self.through(t, abi) else str(self.named[t])

    def symbols(self, t: str, abi: str) -> list[str]:
        """All names, undecorated."""
        return [self.symbol(t, abi), *(alias for letter, alias in self.aliases.items() if letter == t)]

    def of(self, kind: str) -> list[Argument]:
        return [a for a in self.arguments if a.kind == kind]

    @property
    def sides(self) -> tuple[str, str]:
        """The dimensions that say how many diagonals of a band are below and above the main one."""
        return ("k", "k") if self.number_of("kl") is None else ("kl", "ku")

    def argument(self, name: str) -> Argument:
        return next(a for a in self.arguments if a.name == name)

    def number_of(self, name: str) -> int | None:
        return next((a.index for a in self.arguments if a.name == name), None)

    def chosen(self, o: dict[str, Any]) -> str | None:
        """The C condition for the first of two shapes."""
        if "by" not in o:
            return None
        flag, letters = o["by"]
        return " || ".join(f"c->{self.argument(flag).field} == '{x}'" for x in letters)

    def size(self, o: dict[str, Any], axis: int) -> str:
        """A dimension of an operand as a C expression."""

        def name(x: str) -> str:
            return x if x.isdigit() else f"c->{self.argument(x).field}"

        first = name(o["shape"][axis])
        return f"({self.chosen(o)} ? {first} : {name(o['otherwise'][axis])})" if "by" in o else first

    def check(self) -> str:
        """The Fortran position of the first argument that the reference calls an error, else 0."""
        tests = []
        for position, a in enumerate(self.arguments, 1):
            o = self.operands[a.index] if a.kind == "ld" else {}
            if self.level1:  # the last of the numbers that would be stored to one place is the backend's choice
                if a.kind == "ld" and o["role"] != "in" and not self.name.endswith("scal"):
                    tests.append((f"c->{a.field} == 0 && c->{self.argument('n').field} > 1", position))
                continue
            if a.kind == "flag":
                kind = next(k for k in FLAGS if a.name.startswith(k))
                allowed = (
                    self.transposes
                    if kind == "trans"
                    else {"conj": "NC", "uplo": "UL", "side": "LR", "diag": "UN"}[kind]
                )
                if not self.exported and kind == "uplo":
                    allowed += "A"
                if kind == "trans" and a.name in self.turn and {"T", "C"} <= set(allowed):
                    allowed += "r"  # made by turning over, and by nothing that a caller can pass
                tests.append((" && ".join(f"c->{a.field} != '{x}'" for x in allowed), position))
                if kind == "trans" and "C" not in allowed:
                    tests[-1] = (f"{tests[-1][0]} && (bl_is_complex(c->type) || c->{a.field} != 'C')", position)
            elif a.kind == "dim":
                tests.append((f"c->{a.field} < 0", position))
            elif a.kind == "ld" and o.get("storage") == "vector":
                if self.exported:
                    tests.append((f"c->{a.field} == 0", position))
            elif a.kind == "ld" and o.get("storage") == "band":  # < kl + ku + 1, whatever they are
                kl, ku = (f"c->{self.argument(name).field}" for name in self.sides)
                both = f" || c->{a.field} - {kl} <= {ku}" if kl != ku else ""
                tests.append((f"c->{a.field} <= {kl}{both}", position))
            elif a.kind == "ld":
                rows = self.size(o, 0)
                tests.append((f"c->{a.field} < ({rows} > 1 ? {rows} : 1)", position))
        return "".join(f"{test}\n            ? {position}\n            : " for test, position in tests) + "0"


def c_type(r: Routine, a: Argument, t: str, abi: str) -> str:
    """How an ABI passes an argument: Fortran by address, CBLAS by value but for complex numbers and operands."""
    plain = {"flag": "char" if abi[0] in "fh" else "int", "scalar": REAL[t], "operand": REAL[t]}
    base = plain.get(a.kind, f"int{abi[1:]}_t")
    if a.kind == "operand":
        return f"{base} *"
    by_address = abi[0] in "fh" or (a.kind == "scalar" and r.letter(a, t) in "cz")
    return f"const {base} *" if by_address else f"{base} "


def parameters(r: Routine, t: str, abi: str) -> str:
    declared = [f"{c_type(r, a, t, abi)}{a.name}" for a in r.arguments]
    if r.through(t, abi):
        declared.insert(0 if abi[0] == "h" else len(declared), f"{REAL[t]} *result")
    return ", ".join(["int layout"] * (abi[0] == "c" and not r.level1) + declared)


def hidden(r: Routine, abi: str) -> int:
    """Number of hidden lengths that a Fortran routine may expect."""
    return len(r.of("flag")) * (abi[0] in "fh")


def pointer(r: Routine, t: str, abi: str) -> str:
    """The type of the implementation, hidden lengths included."""
    return f"{r.returned(t, abi)} (*)({parameters(r, t, abi)}{', size_t' * hidden(r, abi)})"


def fill(r: Routine, t: str, abi: str, row_major: bool) -> str:
    """Arguments -> canonical call."""
    fortran, lines = abi[0] in "fh", []
    for a in r.arguments:
        source = r.swap.get(a.name, a.name) if row_major else a.name
        if a.kind == "flag":
            kind = next(k for k in FLAGS if a.name.startswith(k))
            read = f"bl_flag_fortran({source})" if fortran else f"bl_cblas_{kind}({source})"
            if row_major and a.name in r.turn:
                if kind == "trans" and r.transposes == "NC":
                    read = f"bl_turn_adjoint({read})"
                else:
                    conjugates = f", {str(t in 'cz').lower()}" if kind == "trans" else ""
                    read = f"bl_turn_{kind}({read}{conjugates})"
            lines.append(f"call.{a.field} = {read};")
        elif a.kind != "scalar":
            lines.append(f"call.{a.field} = {'*' * (fortran and a.kind != 'operand')}{source};")
        elif fortran or r.letter(a, t) in "cz":
            lines.append(f"bl_take_{r.letter(a, t)}(&call.{a.field}, {source});")
        else:
            lines.append(f"call.{a.field} = (bl_scalar){{{{{source}, 0}}, NULL}};")
    for a in r.of("operand"):
        if f"operand[{a.index}].ld" not in [x.field for x in r.of("ld")]:
            packed = r.operands[a.index].get("storage") == "packed"
            lines.append(f"call.operand[{a.index}].ld = {1 if packed else r.size(r.operands[a.index], 0)};")
    if r.hidden_flag and r.rotation:
        lines.append(f"call.{r.hidden_flag.field} = bl_rotation_form(call.type, {r.rotation});")
    elif r.hidden_flag:
        conj = "C" if row_major else "N"
        lines.append(f"call.{r.hidden_flag.field} = '{conj}';")
    if r.result is not None:
        own = not r.through(t, abi)
        lines.append(f"call.operand[{r.result}] = (bl_operand){{{'&' * own}result, 1}};")
        lines.append(f"call.cell = {str(own).lower()};")
    return "\n    ".join(lines)


def identity(r: Routine, t: str) -> str:
    return (
        f"call.routine = BL_{r.name.upper()}, call.type = BL_{t.upper()}, "
        f"call.size = {SIZE[t]}, call.width = {WIDTH[t]};"
    )


def entry(r: Routine, t: str, abi: str) -> str:
    spoken = abi[0] == "c" and not r.level1
    arguments = ["layout"] * spoken + [a.name for a in r.arguments] + ["1"] * hidden(r, abi)
    if r.through(t, abi):
        arguments.insert(0 if abi[0] == "h" else len(arguments), "result")
    given = ", ".join(arguments)
    kind = r.returned(t, abi)
    begin = keep = done = end = store = ""
    if kind != "void":
        at = f"*({kind} *)call.operand[{r.result}].base"
        begin, keep, done, end = f"{kind} result = 0;\n    ", "result = ", f" {at}", "\n    return result;"
        store = f"\n    if (next >= BL_CALL)\n        {at} = result; /* where the layers look for it */"
    if not spoken:
        row_major, layout, body = "false", "true", fill(r, t, abi, False)
    else:
        row_major, layout = "layout == 101", "layout == 101 || layout == 102"
        body = (
            f"if (call.row_major) {{\n    {fill(r, t, abi, True)}\n    }} else {{\n    {fill(r, t, abi, False)}\n    }}"
        )
    return f"""\
static {kind} bl_{t}{r.name}_{abi}({parameters(r, t, abi)})
{{
    {begin}const bl_binding *g = bl_thread_state.bound;
    bl_call call;
    {identity(r, t)}
    call.row_major = {row_major}, call.caller = __builtin_return_address(0);
    {body}
    const enum bl_next next = bl_tell(&call, g, {layout}, {"BL_NEVER" if r.result is None else r.result});
    if (next == BL_DONE)
        return{done};
    {keep}(({pointer(r, t, abi)})g->real)({given});{store}
    if (next >= BL_CALL)
        bl_thread_state.inside = NULL;
    if (next == BL_CALL_AFTER)
        bl_leave(&call);{end}
}}
"""


def index_entry(r: Routine, t: str, abi: str) -> str:
    """Of a routine that has no derivative: layers are not told of it."""
    kind, given = r.returned(t, abi), ", ".join(a.name for a in r.arguments)
    return f"""\
static {kind} bl_{t}{r.name}_{abi}({parameters(r, t, abi)})
{{
    const bl_binding *g = bl_thread_state.bound;
    int64_t index = 0; /* counted from 1; 0: there is none */
    bl_call call;
    {identity(r, t)}
    {fill(r, t, abi, False)}
    call.operand[{len(r.operands)}].base = &index;
    if (bl_enter(&call, g, true, __builtin_frame_address(0)) != BL_DONE)
        return (({pointer(r, t, abi)})g->real)({given});
    return ({kind}){"(index > 0 ? index - 1 : 0)" if abi[0] == "c" else "index"};
}}
"""


def caller(r: Routine, t: str, abi: str) -> str:
    """Canonical call -> arguments, in order, as the ABI passes them."""
    fortran, local, given = abi[0] in "fh", [], ["102"] * (abi[0] == "c" and not r.level1)
    store = after = ""
    for a in r.arguments:
        if a.kind == "flag":
            kind = next(k for k in FLAGS if a.name.startswith(k))
            given.append(f"&call->{a.field}" if fortran else f"bl_number_{kind}(call->{a.field})")
        elif a.kind == "operand":
            given.append(f"call->{a.field}")
        elif a.kind == "scalar":
            value = f"call->{a.field}.value"
            local.append(f"const {REAL[t]} {a.name}[] = {{({REAL[t]}){value}.re, ({REAL[t]}){value}.im}};")
            given.append(a.name if fortran or r.letter(a, t) in "cz" else f"{a.name}[0]")
        else:
            local.append(f"const int{abi[1:]}_t {a.name} = (int{abi[1:]}_t)call->{a.field};")
            given.append(f"{'&' * fortran}{a.name}")
    if r.through(t, abi):
        given.insert(0 if abi[0] == "h" else len(given), f"call->operand[{r.result}].base")
    elif r.result is not None:
        store = f"*({r.number(t)} *)call->operand[{r.result}].base = "
    elif r.index:  # C, which counts from 0, has no number for "none"
        store = f"*(int64_t *)call->operand[{len(r.operands)}].base = "
        if not fortran:
            store += "call->dim[0] <= 0 || call->operand[0].ld <= 0 ? 0 : (int64_t)"
            after = " + 1"
    return f"""\
static void call_{t}{r.name}_{abi}(const bl_call *call, void (*f)(void))
{{
    {chr(10).join(local)}
    {store}(({pointer(r, t, abi)})f)({", ".join(given + ["1"] * hidden(r, abi))}){after};
}}
"""


def made(r: Routine) -> str:
    """A function that makes the call, for rules."""
    kinds = {"flag": "char", "dim": "int64_t", "scalar": "bl_scalar", "operand": "bl_matrix"}
    declared = ["const bl_path *to", "int type"] + [f"{kinds[a.kind]} {a.name}" for a in r.arguments if a.kind != "ld"]
    lines = [
        f"call.operand[{a.index}] = (bl_operand){{{a.name}.at, {a.name}.ld}};"
        if a.kind == "operand"
        else f"call.{a.field} = {a.name};"
        for a in r.arguments
        if a.kind != "ld"
    ]
    if r.hidden_flag and r.rotation:
        lines.append(f"call.{r.hidden_flag.field} = bl_rotation_form(type, {r.rotation}.at);")
    elif r.hidden_flag:
        lines.append(f"call.{r.hidden_flag.field} = 'N';")
    if r.result is not None:
        declared.append("void *result")
        lines += [f"call.operand[{r.result}] = (bl_operand){{result, 1}};"]
    return f"""\
static inline void bl_{r.name}({", ".join(declared)})
{{
    bl_call call;
    bl_made_begin(&call, to, BL_{r.name.upper()}, type);
    {chr(10).join(lines)}
    bl_made_pass(to, &call);
}}
"""


class Sequence:
    """A routine that is calls of gemm; no layer sees one."""

    def __init__(self, entry: dict[str, Any]) -> None:
        self.name, self.types, self.arrays = entry["name"], entry["types"], entry.get("arrays", False)
        self.arguments: list[str] = entry["arguments"].split()

    def c_type(self, name: str, t: str, abi: str) -> str:
        flag, scalar = name.startswith("trans"), name in ("alpha", "beta")
        if name in ("a", "b", "c"):
            return f"{REAL[t]} *const *" if self.arrays else f"{REAL[t]} *"
        base = ("char" if abi[0] == "f" else "int") if flag else REAL[t] if scalar else f"int{abi[1:]}_t"
        by_address = (self.arrays and name != "group_count") or abi[0] == "f" or (scalar and t in "cz")
        return f"const {base} *" if by_address else f"{base} "

    def parameters(self, t: str, abi: str) -> str:
        return ", ".join(["int layout"] * (abi[0] == "c") + [f"{self.c_type(a, t, abi)}{a}" for a in self.arguments])

    def entry(self, t: str, abi: str) -> str:
        def at(*names: str) -> str:
            return ", ".join(
                "&" * ("*" not in self.c_type(n, t, abi)) + n if n in self.arguments else "NULL" for n in names
            )

        cblas = abi[0] == "c"
        given = ", ".join(["layout"] * cblas + self.arguments + ["1", "1"] * (not cblas))
        by_value = "*" not in self.c_type("alpha", t, abi)
        lengths = ", size_t" * 2 * (not cblas)
        return f"""\
static void bl_{t}{self.name}_{abi}({self.parameters(t, abi)})
{{
    const bl_binding *g = bl_thread_state.bound;
    const bl_batch batch = {{
        .type = BL_{t.upper()}, .cblas = {str(cblas).lower()}, .wide = {str(abi[1:] == "64").lower()},
        .arrays = {str(self.arrays).lower()}, .by_value = {str(by_value).lower()}, .layout = {"layout" if cblas else 102},
        .flag = {{{at("transa", "transb")}}}, .dim = {{{at("m", "n", "k")}}}, .scalar = {{{at("alpha", "beta")}}},
        .ld = {{{at("lda", "ldb", "ldc")}}}, .stride = {{{at("stridea", "strideb", "stridec")}}},
        .operand = {{a, b, c}}, .groups = {at("group_count")}, .sizes = {at("group_size" if self.arrays else "batch_size")},
        .frame = __builtin_frame_address(0), .caller = __builtin_return_address(0)}};
    if (bl_tell_batch(&batch, g) == BL_ALONE)
        ((void (*)({self.parameters(t, abi)}{lengths}))g->real)({given});
}}
"""

    def spec(self) -> str:
        arguments, called = (", ".join(f'"{x}"' for x in xs) for xs in (self.arguments, [t + self.name for t in REAL]))
        return f"""\
static const char *const {self.name}_arguments[] = {{{arguments}, NULL}};
static const bl_routine_spec bl_spec_{self.name} = {{
    .name = "{self.name}", .called = {{{called}}}, .arguments = {self.name}_arguments, .result = BL_NEVER}};
"""


def spec(r: Routine) -> str:
    """What the routine looks like, for call.h."""

    def strings(name: str, values: list[str]) -> str:
        quoted = [f'"{v}"' for v in values]
        return f"static const char *const {r.name}_{name}[] = {{{', '.join([*quoted, 'NULL'])}}};\n"

    def dims(shape: list[str]) -> str:
        indices = ["BL_DIM_ONE" if name.isdigit() else str(r.argument(name).index) for name in shape]
        return f"{{{', '.join((['BL_DIM_ONE'] if len(indices) == 1 else []) + indices)}}}"

    def operand(o: dict[str, Any]) -> str:
        storage = o.get("storage", "general")
        flags = [r.number_of(name) if storage in ("triangle", "band", "packed") else None for name in ("uplo", "diag")]
        sides = [r.argument(name).index if storage == "band" else None for name in r.sides]
        flag, letters = (str(r.argument(o["by"][0]).index), o["by"][1]) if "by" in o else ("BL_NEVER", "")
        fields = [f'"{o["name"]}"', str(o["role"] != "in").lower(), str(o.get("real", False)).lower()]
        fields += [str(o.get("wide", False)).lower()]
        fields += [f"BL_{storage.upper()}"]
        fields += ["BL_NEVER" if i is None else str(i) for i in flags + sides]
        fields += [flag, f"{{{', '.join(repr(x) for x in (letters * 2)[:2]) or '0, 0'}}}"]
        return f"{{{', '.join(fields)}, {{{dims(o['shape'])}, {dims(o.get('otherwise', o['shape']))}}}}}"

    lists = [
        strings(f"{k}s", [a.name for a in r.of(k)] + [a.name for a in (r.hidden_flag,) if a and k == "flag"])
        for k in ("flag", "dim", "scalar")
    ]
    lists.append(strings("arguments", [a.name for a in r.arguments]))
    pairs = "".join(f'{{"{a}", "{b}"}}, ' for a, b in r.swap.items())
    lists.append(f"static const char *const {r.name}_row_major[][2] = {{{pairs}{{NULL, NULL}}}};\n")
    operands = ", ".join(operand(o) for o in r.operands)
    turned = sum(1 << r.argument(name).index for name in r.turn if name != "conj")
    numbers = [len(r.of("flag")) + bool(r.hidden_flag), len(r.of("dim")), len(r.of("scalar")), len(r.operands)]
    real = sum(1 << r.argument(name).index for name in r.real)
    counts = ", ".join(map(str, numbers)) + f", {str(bool(r.hidden_flag)).lower()}, {turned}, {real}"
    yes = (r.transposes == "NC", r.level1, r.same, r.index)
    counts += "".join(f", {str(x).lower()}" for x in yes)
    counts += ", BL_NEVER" if r.result is None else f", {r.result}"
    named = "}, {".join(", ".join(f'"{n[t]}"' if t in n else "NULL" for t in REAL) for n in (r.named, r.aliases))
    return f"""{"".join(lists)}\
int bl_check_{r.name}(const bl_call *c);
static const bl_routine_spec bl_spec_{r.name} = {{
    "{r.name}", {{{named}}}, {r.name}_flags, {r.name}_dims, {r.name}_scalars, {r.name}_arguments, {r.name}_row_major,
    {counts}, {{{operands}}},
    bl_check_{r.name}}};
"""


def main(source: str, out: str) -> None:
    data = tomllib.loads(Path(source).read_text())
    routines = [Routine(e, True) for e in data["routine"]]
    kernels = [Routine(e, False) for e in data["kernel"]]
    sequences = [Sequence(e) for e in data["sequence"]]
    everything = routines + kernels
    differentiable = [r for r in routines if not r.index]
    bodies = [(r, t, abi) for r in routines for t in r.types for abi in ABIS]
    names = [
        (pattern.format(symbol), r, t, abi)
        for r, t, abi in bodies
        for symbol in r.symbols(t, abi)
        for pattern in NAMES[abi]
    ]
    series = [(s, t, abi) for s in sequences for t in s.types for abi in ABIS]
    series_names = [(p.format(t + s.name), s, t, abi) for s, t, abi in series for p in NAMES[abi]]
    symbols: list[tuple[str, Routine | Sequence, str, str]] = [*names, *series_names]
    through = [(r, t, abi) for r in routines for t in r.types for abi in HIDDEN if r.through(t, abi)]

    def lines(pattern: str, of: Iterable[tuple[str, Routine | Sequence, str, str]]) -> str:
        return "".join(
            pattern.format(n=n, r=r.name, R=r.name.upper(), t=t, T=t.upper(), abi=abi, ABI=abi.upper(), i=i)
            for i, (n, r, t, abi) in enumerate(of)
        )

    hidden_line = "    [BL_{{R}}][BL_{{T}}][BL_{{ABI}} - BL_H32] = {}_{{t}}{{r}}_{{abi}},\n"
    files = {
        "routines.h": f"""
#ifndef BL_ROUTINES_H
#define BL_ROUTINES_H
enum bl_routine {{ {"".join(f"BL_{r.name.upper()}, " for r in everything)}BL_ROUTINES,
    BL_OPERATION = BL_ROUTINES /* of the program's own (operation.h) */,
    {", ".join(f"BL_{s.name.upper()}" for s in sequences)}, BL_ALL }};
#define BL_FIRST_KERNEL BL_{everything[len(routines)].name.upper()}
enum {{ BL_SYMBOLS = {len(symbols)} }};
#define BL_EACH_ROUTINE(X) {" ".join(f"X({r.name}, {r.name.upper()})" for r in differentiable)}
#define BL_EACH_KERNEL(X) {" ".join(f"X({r.name}, {r.name.upper()})" for r in kernels)}
#endif
""",
        "specs.h": f"""
#ifndef BL_SPECS_H
#define BL_SPECS_H
#include "call.h"
{"".join(spec(r) for r in everything)}
#endif
""",
        "table.c": f"""
#include "specs.h"
extern const bl_routine_spec bl_spec_operation;
{"".join(s.spec() for s in sequences)}
const bl_routine_spec *const bl_routine_table[BL_ALL] = {{
{"".join(f"    [BL_{r.name.upper()}] = &bl_spec_{r.name},{chr(10)}" for r in everything)}\
{"".join(f"    [BL_{s.name.upper()}] = &bl_spec_{s.name},{chr(10)}" for s in sequences)}\
    [BL_OPERATION] = &bl_spec_operation}};
{"".join(f"int bl_check_{r.name}(const bl_call *c) {{ (void)c; return {r.check()}; }}{chr(10)}" for r in everything)}
""",
        "entries.c": f"""
#include "batched.h"
{"".join((index_entry if b[0].index else entry)(*b) for b in bodies)}
{"".join(s.entry(t, abi) for s, t, abi in series)}
{lines("void blasad_entry_{n}(void);" + chr(10), symbols)}
const bl_symbol_info bl_symbol_table[BL_SYMBOLS] = {{
{lines('    {{"{n}", blasad_entry_{n}, (void (*)(void))bl_{t}{r}_{abi}, BL_{R}, BL_{T}, BL_{ABI}}},' + chr(10), symbols)}}};
bl_binding bl_name_binding[BL_SYMBOLS] = {{
{lines("    {{(void (*)(void))bl_{t}{r}_{abi}, NULL, NULL, {i}}}," + chr(10), symbols)}}};
{"".join(entry(*b) for b in through)}
void (*const bl_hidden_entries[BL_FIRST_KERNEL][4][2])(void) = {{
{lines(hidden_line.format("(void (*)(void))bl"), [("", *b) for b in through])}}};
""",
        "callers.c": f"""
#include "backend.h"
{"".join(caller(*b) for b in bodies)}
const bl_caller bl_callers[BL_FIRST_KERNEL][4][BL_ABIS] = {{
{lines("    [BL_{R}][BL_{T}][BL_{ABI}] = call_{t}{r}_{abi}," + chr(10), [("", *b) for b in bodies])}}};
{"".join(caller(*b) for b in through)}
const bl_caller bl_hidden_callers[BL_FIRST_KERNEL][4][2] = {{
{lines(hidden_line.format("call"), [("", *b) for b in through])}}};
""",
        "made.h": f"""
#ifndef BL_MADE_H
#define BL_MADE_H
#include "blas.h"
{"".join(made(r) for r in differentiable)}
#endif
""",
        "names.inc": lines("BL_NAME {n}, {i}" + chr(10), symbols),
        "names_cdef.h": "".join(f"{r.returned(t, abi)} {n}({parameters(r, t, abi)});\n" for n, r, t, abi in names)
        + "".join(f"void {n}({s.parameters(t, abi)});\n" for n, s, t, abi in series_names),
        "names_map.h": lines("#define {n} blasad_entry_{n}" + chr(10), symbols),
    }
    Path(out).mkdir(parents=True, exist_ok=True)
    for name, text in files.items():
        Path(out, name).write_text("/* Made by tools/gen_entries.py from csrc/routines.toml. */\n" + text)


if __name__ == "__main__":
    main(*sys.argv[1:])
