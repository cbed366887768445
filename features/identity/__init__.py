"""Identity: which accounts of many systems are one person, how surely, and since when that is known."""

from features.identity.people import People, Person

__all__ = ["People", "Person"]
