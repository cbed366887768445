"""Remembers: intake, history, and features as of any moment."""

from features.declaration import FeatureSet
from features.errors import InputError
from features.facts import EVENTS, ITEMS, PROFILE, CustomerFacts, Event, ProfileFact
from features.feature import Feature
from features.history import History
from features.library import standard_features

__all__ = [
    "EVENTS",
    "ITEMS",
    "PROFILE",
    "CustomerFacts",
    "Event",
    "Feature",
    "FeatureSet",
    "History",
    "InputError",
    "ProfileFact",
    "standard_features",
]
