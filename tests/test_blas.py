"""Every routine of the table, every type and combination of flags: one call against the chain rule and differences.

One case runs the rows of a covering array of strength 3 over everything else that a call has; see blas_trials.py.
"""

import pytest
from blas_trials import flag_choices, trials
from table import families

from blasad import Forward, Reverse

FAMILIES = families()
MODES = pytest.mark.parametrize("mode", [Reverse, Forward], ids=["reverse", "forward"])


def each_case() -> list[object]:
    return [
        pytest.param(family, letter, flags, id=" ".join([letter + family, "".join(flags.values())]).strip())
        for family, letters in FAMILIES.items()
        for letter in letters
        for flags in flag_choices(family, letter)
    ]


@MODES
@pytest.mark.parametrize(("family", "letter", "flags"), each_case())
def test_call(family, letter, flags, mode):
    for trial in trials(family, letter, flags, mode):
        try:
            trial.run()
        except BaseException as error:
            error.add_note(str(trial))
            raise
