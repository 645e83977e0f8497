"""A sample of the campaign (tools/campaign.py), and that it would notice."""

from collections import Counter

import pytest
from campaign_judge import BLIND, Tally, draw, judge, smallest

SHARES, SHARE = 8, 750


@pytest.mark.parametrize("share", range(SHARES))
def test_sample(share):
    tally = Tally()
    for seed in range(share * SHARE, (share + 1) * SHARE):
        verdict = judge(draw(seed))
        if verdict.failed:
            small = smallest(verdict)
            pytest.fail(
                f"{verdict.program}\n{verdict.outcome}: {verdict.text}\nfewer steps:\n{small.program}\n{small.text}"
            )
        tally.add(verdict)
    assert tally.outcomes["numbers"] > SHARE // 3
    assert all(tally.outcomes[name] > SHARE // 200 for name in ("UnseenWriteError", "ActivityError", "AliasError"))
    assert tally.outcomes["left open"] < SHARE // 10


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
