"""Intake: files and tables of many systems become facts; rows that can't are kept aside with the reason."""

from features.intake.loading import ingest
from features.intake.mending import mend
from features.intake.receipts import Loaded
from features.intake.sources import Field, Source

__all__ = ["Field", "Loaded", "Source", "ingest", "mend"]
