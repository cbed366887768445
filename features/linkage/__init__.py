"""Linkage: which records of which tables are of the same person, learned from the tables themselves."""

from features.linkage.incremental import LinkageModel, link_new
from features.linkage.linkage import Linkage, link
from features.linkage.reading import read_people

__all__ = ["Linkage", "LinkageModel", "link", "link_new", "read_people"]
