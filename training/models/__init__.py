"""The models, one file per algorithm, and the bundles they are kept in."""

from training.models.response import ResponseModel

__all__ = ["ResponseModel"]
