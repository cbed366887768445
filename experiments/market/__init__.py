"""A simulated market with known causal truth: what every policy would earn can be asked of it."""

from experiments.market.customers import Customers
from experiments.market.exports import sources_toml, write_exports
from experiments.market.market import Market
from experiments.market.offers import CATEGORIES, CHANNELS, TREATMENTS, Treatment
from experiments.market.reactions import Expected
from experiments.market.spec import MarketSpec

__all__ = [
    "CATEGORIES",
    "CHANNELS",
    "TREATMENTS",
    "Customers",
    "Expected",
    "Market",
    "MarketSpec",
    "Treatment",
    "sources_toml",
    "write_exports",
]
