#!/usr/bin/env python3
"""Breaks the C core, one line at a time, and looks whether a test notices.

    ./dev editable python tools/mutate.py             every mutation
    ./dev editable python tools/mutate.py alias need  those whose name contains one of the words

A copy of the sources is built in a temporary folder, and the tests run against that. "survived" means that no test
failed: a test is missing, or the line does nothing. Exit status 1 if there is one.
"""

import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parents[1]
# Those that notice soonest first; test_package.py is about an installed package, which this is not.
TESTS = ("test_errors.py", "test_interface.py", "test_rules.py", "test_programs.py", "test_cases.py")


class Mutation(NamedTuple):
    name: str
    file: str  # in csrc, or in tools
    old: str
    new: str


RULES, ACCESS = "rules_level3.c", "access_level3.h"
MUTATIONS = [
    # what a derivative is (sections 2 to 4)
    Mutation("adjoint: output shadow kept", RULES, "bl_mscal(to, g.type, g.m, g.n, 'C', beta, G);", ";"),
    Mutation("adjoint: beta not conjugated", RULES, "'C', beta, G)", "'N', beta, G)"),
    Mutation("adjoint: no dbeta", RULES, "bl_mdot(to, g.type, g.m, g.n, bl_values(s, C), G, false, s->scalar_shadow[BETA]);", ";"),
    Mutation("adjoint: dB overwritten", RULES, "factor, x, G, BL_ONE, bl_shadow(s, B)", "factor, x, G, BL_ZERO, bl_shadow(s, B)"),
    Mutation("adjoint: alpha's conjugate in dA", RULES, "factor = g.ta == 'C' ? alpha : turned, keep", "factor = alpha, keep"),
    Mutation("adjoint: dalpha's conjugate", RULES, "product, g.ta == 'C', dalpha", "product, false, dalpha"),
    Mutation("adjoint: alpha = 0 not branched on", RULES, " && !bl_always_zero(alpha), to_a = products && s->shadow[A],\n               to_b = products && s->shadow[B];\n    void *dalpha = g.k > 0 ? s->scalar_shadow[ALPHA] : NULL;\n    const bl_path scaled = times(s, alpha);", ", to_a = products && s->shadow[A],\n               to_b = products && s->shadow[B];\n    void *dalpha = g.k > 0 ? s->scalar_shadow[ALPHA] : NULL;\n    const bl_path scaled = *to;"),
    Mutation("adjoint: other operand's conjugate", ACCESS, "own == 'T' ? conjugate_of(other)", "own == 'T' ? adjoint_of(other)"),
    Mutation("tangent: no dbeta term", RULES, "if (s->scalar_shadow[BETA]) {\n        bl_maxpby", "if (0) {\n        bl_maxpby"),
    Mutation("tangent: no dB term", RULES, "if (products && s->shadow[B]) {", "if (0) {"),
    Mutation("tangent: old tangent kept", RULES, "if (!bl_always_one(beta))\n        bl_mscal(to, g.type, g.m, g.n, 'N', beta, dc);", ";"),
    Mutation("tangent: no dalpha term", RULES, "if (g.k > 0 && s->scalar_shadow[ALPHA]) {", "if (0) {"),
    Mutation("access: active alpha = 0 reads nothing", ACCESS, "if (product || (a->scalars & BL_ANY(ALPHA)))", "if (product)"),
    Mutation("access: no early return", ACCESS, "bool stores = product || !keeps;", "bool stores = true;"),
    Mutation("access: beta = 0 reads", ACCESS, "(stores && !clears) ||", "stores ||"),
    # values needed later (6)
    Mutation("need: A not needed for dB", ACCESS, "needs |= BL_OPERAND(A);", "needs |= 0;"),
    Mutation("need: C not needed for dbeta", ACCESS, "needs |= BL_OPERAND(C);", "needs |= 0;"),
    Mutation("need: B needed always", ACCESS, "(!zero && (active & BL_OPERAND(A)))))", "true))"),
    Mutation("save: nothing saved", "snapshot.c", "EACH_NEEDED_RUN(r, v, (runs++, units += end - from))", ""),
    Mutation("save: need bits stay", "snapshot.c", "BL_EACH_WORD(from, end, r->need[word] &= ~mask)", ""),
    Mutation("save: neighbours saved too", "snapshot.c", "size_t end = bl_bits_next((r)->need, from, last, ~UINT64_C(0));", "size_t end = last;"),
    Mutation("copy: old copy taken for the new content", "snapshot.c", "&& unchanged(&cs->copy[cs->bucket[b] - 1])", ""),
    Mutation("copy: never reused", "snapshot.c", "if (cs->bucket[b] && unchanged", "if (0 && unchanged"),
    Mutation("mirror: saved values not used", "snapshot.c", "bl_bits_set(r->moved, u, u + n);", ""),
    Mutation("mirror: not completed", "snapshot.c", "memcpy(r->mirror + (u << r->shift), r->lo + (u << r->shift), (end - u) << r->shift);", ""),
    Mutation("mirror: never cleared", "snapshot.c", "memset(r->moved, 0, bytes);", ""),
    # aliasing and activity (5, 1, 8)
    Mutation("alias: not checked", "touch.c", "if (bl_views_overlap(&written, &v)) {", "if (0) {"),
    Mutation("alias: by range, not by element", "call.c", "return same || next;", "return true;"),
    Mutation("alias: scalars not checked", "touch.c", "if (w->scalar_region[i] && bl_views_overlap(&written, &v)) {", "if (0) {"),
    Mutation("activity: constant output accepted", "touch.h", "if (p->cut) {", "if (0) {"),
    Mutation("activity: other width accepted", "touch.h", "if (r->width != 0) {", "if (0) {"),
    Mutation("activity: number by value accepted", "touch.h", "bl_set_has(&t->returned, ", "0 && bl_set_has(&t->returned, "),
    Mutation("activity: nothing assumed", "touch.h", "bl_is_scratch(t, &v) ? 0 : BL_OPERAND(i)", "0"),
    Mutation("activity: scratch always known", "touch.c", "if (v->base >= s->base && v->end <= s->end &&", "if (1 ||"),
    Mutation("activity: other threads unseen", "tape.c", "if (!r)\n            continue;\n        char name[16]", "if (1)\n            continue;\n        char name[16]"),
    Mutation("annotation: shadows may overlap", "region.c", "return refuse(r, q, \"shadow\", \"shadow\");", ";"),
    Mutation("annotation: touched memory accepted", "region.c", "&& touched(tape, r))", "&& 0)"),
    # unseen writes (7)
    Mutation("verify: operands not checked", "record.c", "bad = bl_prints_check(r, &v);", ";"),
    Mutation("verify: saves not checked", "record.c", "bad = bl_prints_check_bits(r, r->need,", "if (0) bad = bl_prints_check_bits(r, r->need,"),
    Mutation("verify: scalars not checked", "record.c", "bl_prints_check(w->scalar_region[i], &v);", "NULL;"),
    Mutation("verify: nothing seen", "record.c", "bl_bits_set(r->seen, from,", "if (0) bl_bits_set(r->seen, from,"),
    Mutation("verify: writes not stamped", "record.c", "bl_prints_stamp(r, &v);", ";"),
    Mutation("verify: constants keep old prints", "record.c", "bl_prints_drop(r, &v);", ";"),
    Mutation("verify: replay not checked", "replay.c", "if (r->need && r->print) {", "if (0) {"),
    Mutation("verify: weak print", "fingerprint.c", "(x * UINT64_C(0x9E3779B97F4A7C15)) >> 32", "x"),
    Mutation("kernel: cleared by scaling", "kernels.inc.c", "if (beta == 0)\n            memset", "if (0)\n            memset"),
    Mutation("kernel: dot not conjugated", "kernels.inc.c", "CONJ(a[i]) * b[i]", "a[i] * b[i]"),
    # when and how calls arrive (4, 11)
    Mutation("entry: argument number of row-major calls", "backend.c", "if (c->row_major) {", "if (0) {"),
    Mutation("entry: lower case unknown", "entry.h", "(char)(c - 'a' + 'A')", "c"),
    Mutation("entry: row-major taken for column-major", "../tools/gen_entries.py", "swap.get(a.name, a.name)", "a.name"),
    Mutation("entry: width probed wrong", "backend.c", "(int32_t)at == 0 ? 64 : 32", "(int32_t)at == 0 ? 32 : 64"),
    Mutation("replay: errors forgotten", "tape.c", "int code = blasad_tape_error(t);\n    if (code != BLASAD_OK)\n        return code;\n    if (t->mode", "int code = 0;\n    if (t->mode"),
    Mutation("replay: inside the block", "tape.c", "if (t->recording)\n        return bl_fail(BLASAD_TAPE,\n", "if (0)\n        return bl_fail(BLASAD_TAPE,\n"),
]  # fmt: skip


def run(*command: str | Path, cwd: Path = ROOT, **environment: str) -> subprocess.CompletedProcess[str]:
    given = list(map(str, command))
    return subprocess.run(
        given, cwd=cwd, env={**os.environ, **environment}, capture_output=True, text=True, check=False
    )


def prepare(folder: Path) -> None:
    """The sources as they are now, a build, and a package that python imports from there."""
    listed = run("git", "-C", ROOT, "ls-files", "-z", "--cached", "--others", "--exclude-standard").stdout
    for name in filter(None, listed.split("\0")):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        if (ROOT / name).exists():
            shutil.copy2(ROOT / name, folder / name)
    done = run("meson", "setup", folder / "build", folder)
    assert done.returncode == 0, done.stdout
    package = folder / "site" / "blasad"
    package.mkdir(parents=True)
    for source in (folder / "blasad").iterdir():
        package.joinpath(source.name).symlink_to(source)
    for name in ("libblasad.so", "_core.abi3.so"):
        package.joinpath(name).symlink_to(folder / "build" / name)
    # An editable installation finds its package ahead of any path: here it must not.
    hook = "import sys\nsys.meta_path[:] = [f for f in sys.meta_path if 'esonpy' not in type(f).__name__]\n"
    (folder / "site" / "sitecustomize.py").write_text(hook)


def test(folder: Path) -> str | None:
    """The first test that fails, or None."""
    built = run("ninja", "-C", folder / "build")
    if built.returncode:
        return "the compiler"
    command: list[str | Path] = [
        sys.executable,
        "-m",
        "pytest",
        "-x",
        "-q",
        "-p",
        "no:cacheprovider",
        "-c",
        folder / "pyproject.toml",
    ]
    command += ["--rootdir", folder, "-n", str(min(4, os.cpu_count() or 1))]
    env = {"PYTHONPATH": str(folder / "site"), "CI": "1", "OPENBLAS_NUM_THREADS": "1"}  # CI: the same examples always
    # Python looks for packages where it is started, and must not find the sources.
    done = run(*command, *(folder / "tests" / t for t in TESTS), cwd=folder.parent, **env)
    if done.returncode == 0:
        return None
    failed = [line.split(" ")[1].split("::", 1)[-1] for line in done.stdout.splitlines() if line.startswith("FAILED ")]
    return failed[0] if failed else f"pytest: {(done.stdout + done.stderr).strip().splitlines()[-1]}"


def main(words: list[str]) -> int:
    chosen = [m for m in MUTATIONS if not words or any(w in m.name for w in words)]
    survivors = 0
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary, "sources")
        prepare(folder)
        failed = test(folder)
        print(f"{'unbroken':45} {failed or 'passes'}", flush=True)
        if failed:
            return 1
        for m in chosen:
            path, start = folder / "csrc" / m.file, time.monotonic()
            text = path.read_text()
            if text.count(m.old) != 1:
                killer: str | None = None
                verdict = f"NOT FOUND ONCE in {m.file}: tools/mutate.py is out of date"
            else:
                path.write_text(text.replace(m.old, m.new))
                killer = test(folder)
                verdict = f"killed by {killer}" if killer else "SURVIVED"
                path.write_text(text)
            survivors += killer is None or killer == "the compiler"
            print(f"{m.name:45} {verdict}  ({time.monotonic() - start:.0f} s)", flush=True)
    print(f"{len(chosen)} mutations, {len(chosen) - survivors} killed")
    return 1 if survivors else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
