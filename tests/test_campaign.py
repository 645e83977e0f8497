"""A sample of the campaign (tools/campaign.py), and that it would notice."""

from collections import Counter

import pytest
from campaign_judge import BLIND, Tally, draw, judge, smallest

SHARES, SHARE = 8, {"gemm": 750, "all": 120}


@pytest.mark.parametrize("share", range(SHARES))
@pytest.mark.parametrize("routines", SHARE)
def test_sample(routines, share):
    tally, programs = Tally(), SHARE[routines]
    for seed in range(share * programs, (share + 1) * programs):
        verdict = judge(draw(seed, routines))
        if verdict.failed:
            small = smallest(verdict)
            pytest.fail(
                f"{verdict.program}\n{verdict.outcome}: {verdict.text}\nfewer steps:\n{small.program}\n{small.text}"
            )
        tally.add(verdict)
    assert tally.outcomes["numbers"] > programs // 3
    errors = ("UnseenWriteError", "ActivityError", "AliasError")[: 3 if routines == "gemm" else 2]  # that one is rare
    assert all(tally.outcomes[name] > programs // 200 for name in errors)
    assert tally.outcomes["left open"] < programs // 6


# What has to be noticed where something is kept from blasad.
NOTICED = {
    "verify": {"missed report"},
    "copies": {"missed report"},
    "forget": {"false report", "wrong assumptions"},
    "assigned": {"false report", "wrong assumptions"},
    "assumptions": {"wrong assumptions"},
}


@pytest.mark.parametrize("blind", BLIND)
def test_blind(blind):
    found = Counter(judge(draw(seed), blind).outcome for seed in range(300))
    assert all(found[outcome] for outcome in NOTICED[blind]), found
