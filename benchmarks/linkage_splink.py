"""The peer of linkage: Splink by itself, its comparisons, blocking rules and training set by hand for these columns."""

from __future__ import annotations

import time
import warnings

import duckdb
import pandas as pd
import pyarrow as pa

_DATES, _STREETS, _TOWNS = ("date_of_birth", "birth_date"), ("address_1", "street"), ("suburb", "town")
_CODES, _SHORT = ("soc_sec_id", "phone", "email"), ("street_number", "postcode")


def splink_alone(table: pa.Table, *, threshold: float = 0.95) -> tuple[list[str], float]:
    """The group of each record of ``table`` (column ``rec_id``), and the seconds that it took.

    Set up as Splink's guide to deduplication does: names with term frequencies, edit distances elsewhere, u by random
    sampling, m by expectation and maximisation on two blocking rules, connected groups at a threshold.
    """
    import splink.comparison_library as library
    from splink import DuckDBAPI, Linker, SettingsCreator, block_on

    frame = table.to_pandas().drop(columns=["person"], errors="ignore")
    frame = frame.apply(lambda column: column.astype("string").str.strip().str.lower().replace("", pd.NA))
    date, street, town = (next((each for each in names if each in frame), None) for names in (_DATES, _STREETS, _TOWNS))
    codes, short = [each for each in _CODES if each in frame], [each for each in _SHORT if each in frame]
    comparisons = [
        library.NameComparison("given_name").configure(term_frequency_adjustments=True),
        library.NameComparison("surname").configure(term_frequency_adjustments=True),
        *(library.DamerauLevenshteinAtThresholds(each, [1, 2]) for each in (date, *codes) if each),
        *(library.JaroWinklerAtThresholds(each, [0.9]) for each in (street, town) if each),
        *(library.LevenshteinAtThresholds(each, [1]) for each in short),
    ]
    certain = [block_on("given_name", "surname"), *(block_on(each) for each in codes)]
    rules = [
        *certain,
        *(block_on(each, name) for each in (date, town) if each for name in ("given_name", "surname")),
        *(block_on("postcode", name) for name in ("given_name", "surname") if "postcode" in frame),
    ]
    settings = SettingsCreator(
        link_type="dedupe_only",
        unique_id_column_name="rec_id",
        comparisons=comparisons,
        blocking_rules_to_generate_predictions=rules,
    )
    begun = time.perf_counter()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        api = DuckDBAPI(duckdb.connect())
        linker = Linker(api.register(frame), settings, log_level=50)
        linker.training.estimate_probability_two_random_records_match(certain, recall=0.7)
        linker.training.estimate_u_using_random_sampling(max_pairs=1e6, seed=1)
        linker.training.estimate_parameters_using_expectation_maximisation(block_on("surname"))
        linker.training.estimate_parameters_using_expectation_maximisation(block_on(date or "postcode"))
        pairs = linker.inference.predict(threshold_match_probability=0.01)
        groups = linker.clustering.cluster_pairwise_predictions_at_threshold(
            pairs, threshold_match_probability=threshold
        ).as_pandas_dataframe()
    found = dict(zip(groups["rec_id"], groups["cluster_id"], strict=True))
    return [found[each] for each in frame["rec_id"]], time.perf_counter() - begun
