"""Hypothesis without deadlines: the first call of a numerical library is slow, and time is no subject of these tests."""

from hypothesis import settings

settings.register_profile("checkpoints", deadline=None, max_examples=40)
settings.load_profile("checkpoints")
