"""The cases of tests/cases that cannot pass yet, and what each waits for. The one place that says so.

An entry goes when what it names is there: `test_cases.py` fails for an entry whose case passes, whose routine exists,
or that leaves out a routine which does not.
"""

from typing import NamedTuple


class Wait(NamedTuple):
    routines: str = ""  # of the case's own calls, those that have no entry
    features: str = ""

    def __str__(self) -> str:
        parts = [f"routines {self.routines}"] * bool(self.routines) + [self.features] * bool(self.features)
        return "; ".join(parts)


INTERCEPTION = "interception of other people's calls"

WAITING = {
    "numpy_gram_mirror": Wait(features=INTERCEPTION),
    "pointer_taken_before": Wait(features=INTERCEPTION),
}
