"""Chance that comes out the same for the same words."""

import random


def seeded(*words: object) -> random.Random:
    """A generator of its own for each purpose, so that no thread can disturb another's draws."""
    return random.Random(" ".join(map(str, words)))
