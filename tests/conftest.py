"""For all tests: examples may take their time, as the machines they run on are busy with others' work."""

from __future__ import annotations

from hypothesis import HealthCheck, settings

settings.register_profile(
    "busy", deadline=None, suppress_health_check=[HealthCheck.too_slow], print_blob=True
)
settings.load_profile("busy")
