"""Settings that every test shares."""

from hypothesis import HealthCheck, settings

# How fast examples are made says something of the machine's other guests, not of the code.
settings.register_profile("shared machine", suppress_health_check=[HealthCheck.too_slow], deadline=None)
settings.load_profile("shared machine")
