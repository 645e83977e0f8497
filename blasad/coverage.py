"""Which derivatives of which routines the tests have checked: a table that a run of the tests writes."""

import json
from importlib import resources
from typing import Any

MODES = ("reverse", "forward", "batch", "second order")
TYPES = "sdcz"
CAPTION = (
    "Letters are the types (s, d real, c, z complex, of 4 and 8 bytes) for which the tests have checked the mode; "
    "a dot is a type that exists and that no test of the mode runs."
)


def load() -> dict[str, Any]:
    """By family: its types, its modes with the types checked, of one without a derivative the reason, and the names of
    its routines where these are not made of a type and the family's."""
    found: dict[str, Any] = json.loads(resources.files(__package__).joinpath("coverage.json").read_text())
    return found


def rows(table: dict[str, Any]) -> list[tuple[str, ...]]:
    """The table's lines, the heading first."""
    out: list[tuple[str, ...]] = [("routine", *MODES)]
    for routine, entry in table.items():
        cells = ["".join(t if t in entry.get(mode, "") else "·" for t in entry["types"]) for mode in MODES]
        name = entry.get("called", routine)
        out.append((name, *cells) if "reason" not in entry else (name, entry["reason"]))
    return out


def as_text(table: dict[str, Any]) -> str:
    lines = rows(table)
    widths = [max(len(row[i]) for row in lines if len(row) > 2) for i in range(len(lines[0]))]
    return "\n".join("  ".join(cell.ljust(w) for cell, w in zip(row, widths, strict=False)).rstrip() for row in lines)


def as_markdown(table: dict[str, Any]) -> str:
    head, *lines = rows(table)
    body = ["| " + " | ".join([*row, *[""] * (len(head) - len(row))]) + " |" for row in lines]
    rule = "| " + " | ".join("---" for _ in head) + " |"
    return "\n".join(
        ["# Routines", "", "Made by `./dev coverage`. " + CAPTION, "", "| " + " | ".join(head) + " |", rule, *body, ""]
    )
