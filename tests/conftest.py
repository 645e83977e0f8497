import os

from hypothesis import HealthCheck, settings

# Examples are small programs that take milliseconds; what the machine does besides is no failure of theirs.
common = {"deadline": None, "suppress_health_check": [HealthCheck.too_slow, HealthCheck.data_too_large]}
settings.register_profile("local", print_blob=True, **common)
# The same examples in every run: a change is judged by what it breaks, not by luck.
settings.register_profile("ci", derandomize=True, print_blob=True, **common)
settings.load_profile("ci" if os.environ.get("CI") else "local")
