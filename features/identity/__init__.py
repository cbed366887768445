"""Identity: which accounts of many systems are one person, how surely, and since when that is known."""

from features.identity.people import People, Person
from features.identity.profiles import link_profiles, person_table
from features.identity.resolution import Resolution, believe, merge, resolve, split
from features.identity.rules import Identifier, IdentityRules

__all__ = [
    "Identifier",
    "IdentityRules",
    "People",
    "Person",
    "Resolution",
    "believe",
    "link_profiles",
    "merge",
    "person_table",
    "resolve",
    "split",
]
