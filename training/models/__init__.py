"""The models, one file per algorithm, and the bundles they are kept in."""

from training.models.offers import OfferRecommender
from training.models.response import ResponseModel
from training.models.uplift import UpliftModel

__all__ = ["OfferRecommender", "ResponseModel", "UpliftModel"]
