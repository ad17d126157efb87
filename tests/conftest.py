"""Puts this folder on the path, so that tests in the folders below find what they share.

Generated cases are the same in every run, so that a change is judged by what it changed; a
campaign with new ones is HYPOTHESIS_PROFILE=campaign, where a found case is printed to be kept.
"""

import os

from hypothesis import HealthCheck, Phase, settings

settings.register_profile(
    "steady",
    derandomize=True,
    database=None,
    deadline=None,
    # Shrinking a long run of a state machine may take many minutes; the campaign shrinks.
    phases=(Phase.explicit, Phase.reuse, Phase.generate),
    suppress_health_check=[HealthCheck.too_slow],
)
settings.register_profile("campaign", deadline=None, print_blob=True)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "steady"))
