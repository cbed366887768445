"""Training sets: what was known at each contact, what came of it within the window, and nothing of the future."""

from datetime import UTC, datetime, timedelta

import duckdb
import numpy as np
import pyarrow as pa
import pytest

from features.declaration import FeatureSet
from features.errors import InputError
from features.facts import EVENTS, ITEMS, PROFILE
from features.feature import Feature
from features.history import History
from features.library import standard_features
from training.dataset import Goal, contacts, interactions, last_known, spine_of, training_set
from training.worth import worth_of_offers

START = datetime(2026, 1, 1, tzinfo=UTC)
NOW = START + timedelta(days=100)


def _event(number, customer, kind, day, *, item=None, channel=None, late=0.0):
    at = START + timedelta(days=day)
    return {
        "event_id": f"e{number}",
        "customer_id": customer,
        "kind": kind,
        "occurred_at": at,
        "recorded_at": at + timedelta(days=late),
        "item": item,
        "channel": channel,
    }


def _events(rows) -> pa.Table:
    return pa.Table.from_pylist(rows, schema=EVENTS)


def _labels(rows, *, goal=None, until=NOW):
    spine, censored = contacts(_events(rows), goal=goal or Goal(), until=until)
    return spine["label"].to_pylist(), censored


def _sent(day=10.0, **change):
    return _event(1, "anna", "contact", day, item="shoes", channel="mail", **change)


@pytest.mark.parametrize(
    ("day", "label"),
    [(9.999, False), (10, False), (10.001, True), (17, True), (17.001, False)],
)
def test_the_window_begins_after_the_contact_and_holds_its_end(day, label):
    assert _labels([_sent(), _event(2, "anna", "purchase", day)]) == ([label], 0)


def test_another_customers_purchase_or_another_kind_is_no_response():
    assert _labels([_sent(), _event(2, "ben", "purchase", 11), _event(3, "anna", "visit", 11)]) == ([False], 0)


@pytest.mark.parametrize(("item", "label"), [("shoes", True), ("hats", False), (None, False)])
def test_a_redemption_is_of_the_same_offer(item, label):
    goal = Goal(kinds=("discount",), same_item=True)
    assert _labels([_sent(), _event(2, "anna", "discount", 11, item=item)], goal=goal) == ([label], 0)


def test_an_open_window_is_censored_never_a_no():
    assert _labels([_sent(), {**_sent(95), "event_id": "e2"}]) == ([False], 1)
    with pytest.raises(InputError, match="no contact is mature yet"):
        _labels([_sent(95)])


def test_a_window_that_ends_now_is_open_as_what_happens_now_is_not_known_yet():
    assert _labels([_sent(80), {**_sent(93), "event_id": "e2"}]) == ([False], 1)
    assert _labels([_sent(80), {**_sent(92.999), "event_id": "e2"}]) == ([False, False], 0)


def test_worth_counts_money_of_the_same_window_as_the_label():
    money = [
        _event(place, "anna", "purchase", day) | {"amount": 1} for place, day in enumerate((10, 10.001, 17, 17.001), 5)
    ]
    events = _events([_sent(), _event(2, "ben", "no_contact", 10), *money])
    spine, _ = contacts(events, goal=Goal(), until=NOW)
    assert [(each.response, each.spend) for each in worth_of_offers(events, spine, goal=Goal())] == [(1.0, 2.0)]


def test_a_delay_makes_rows_mature_later():
    assert _labels([_sent(92), _sent(80) | {"event_id": "e2"}], goal=Goal(delay_days=5)) == ([False], 1)
    assert _labels([_sent(92), _sent(80) | {"event_id": "e2"}]) == ([False, False], 0)


def test_decisions_of_nothing_are_rows_too():
    spine, _ = contacts(_events([_sent(), _event(2, "ben", "no_contact", 11)]), goal=Goal(), until=NOW)
    assert spine["treatment"].to_pylist() == ["shoes@mail", "nothing"]
    assert spine["offer"].to_pylist() == ["shoes", "nothing"]


def test_no_contacts_is_said():
    with pytest.raises(InputError, match="holds no contacts"):
        contacts(_events([_event(1, "anna", "visit", 1)]), goal=Goal(), until=NOW)


def _history(folder, rows) -> History:
    history = History(folder)
    history.append(_events(rows), "all")
    return history


FEATURES = FeatureSet.of(Feature(name="visits", where={"kind": "visit"}, windows=("30d",)))


def test_features_are_as_of_the_contact_and_late_facts_are_not_known(tmp_path):
    rows = [
        _sent(),
        _event(2, "anna", "visit", 9),
        _event(3, "anna", "visit", 10.5),
        _event(4, "anna", "visit", 8, late=5),
    ]
    found = training_set(_history(tmp_path, rows), FEATURES, goal=Goal(), until=NOW)
    assert found.frame.to_dict("records") == [{"visits_30d": 1, "offer": "shoes", "channel": "mail"}]
    assert found.times.tolist() == [START + timedelta(days=10)]


def test_attributes_of_the_offer_are_those_known_at_the_contact(tmp_path):
    history = _history(tmp_path, [_sent(), {**_sent(50), "event_id": "e2"}])
    facts = [
        {"item": "shoes", "attribute": "reward", "value": value, "occurred_at": at, "recorded_at": at, "source": "crm"}
        for value, at in (("5", START), ("10", START + timedelta(days=30)))
    ]
    history.append_items(pa.Table.from_pylist(facts, schema=ITEMS), "all")
    found = training_set(history, FEATURES, goal=Goal(), until=NOW)
    assert found.frame["offer_reward"].tolist() == [5, 10]


def test_what_happens_after_until_changes_nothing(tmp_path):
    """F2: everything after the cut is changed at random, every value stays the same."""
    rng = np.random.default_rng(1)
    kinds = ["visit", "purchase", "contact", "no_contact"]

    def rows(start, days, first, count):
        return [
            _event(
                first + place,
                f"c{rng.integers(20)}",
                str(rng.choice(kinds)),
                start + days * rng.random(),
                item="shoes",
                channel="web",
            )
            for place in range(count)
        ]

    past = rows(0, 60, 0, 600)
    sets = [
        training_set(
            _history(tmp_path / str(turn), past + rows(60, 40, 1000, 400)),
            FEATURES,
            goal=Goal(),
            until=START + timedelta(days=60),
        )
        for turn in (1, 2)
    ]
    assert sets[0].frame.equals(sets[1].frame)
    assert sets[0].label.equals(sets[1].label)
    assert sets[0].censored == sets[1].censored > 0


def test_labels_equal_a_plain_sql_query():
    rng = np.random.default_rng(2)
    kinds = ["visit", "purchase", "contact", "no_contact"]
    table = _events(
        [
            _event(
                place, f"c{rng.integers(30)}", str(rng.choice(kinds)), 100 * rng.random(), item="shoes", channel="web"
            )
            for place in range(2000)
        ]
    )
    spine, censored = contacts(table, goal=Goal(window_days=3), until=NOW)
    count, responded, fresh = duckdb.sql(
        """
        SELECT count(*) FILTER (NOT young), count(*) FILTER (NOT young AND yes), count(*) FILTER (young)
        FROM (SELECT c.occurred_at >= TIMESTAMPTZ '2026-04-08 00:00:00+00' AS young,
                     EXISTS (SELECT 1 FROM "table" p WHERE p.kind = 'purchase' AND p.customer_id = c.customer_id
                             AND p.occurred_at > c.occurred_at
                             AND p.occurred_at <= c.occurred_at + INTERVAL 3 DAY) AS yes
              FROM "table" c WHERE c.kind IN ('contact', 'no_contact'))
        """
    ).fetchone()
    assert (spine.num_rows, sum(spine["label"].to_pylist()), censored) == (count, responded, fresh)


def test_interactions_are_in_order_of_time(tmp_path):
    rows = [
        _event(1, "anna", "purchase", 5, item="hat"),
        _event(2, "anna", "purchase", 2, item="bag"),
        _event(3, "ben", "purchase", 1),
    ]
    taken = interactions(_history(tmp_path, rows), kinds=("purchase",))
    assert taken["item_id"].tolist() == ["bag", "hat"]


def _items(*facts, attribute="channels"):
    rows = [
        {
            "item": "shoes",
            "attribute": attribute,
            "value": value,
            "occurred_at": START + timedelta(days=day),
            "recorded_at": START + timedelta(days=day + late),
            "source": "crm",
        }
        for value, day, late in facts
    ]
    return pa.Table.from_pylist(rows, schema=ITEMS)


def test_a_contact_without_a_channel_went_out_over_all_that_its_offer_had_then(tmp_path):
    rows = [
        _event(1, "anna", "contact", 10, item="shoes"),
        _event(2, "anna", "contact", 20, item="shoes"),
        _event(3, "anna", "contact", 40, item="shoes"),
        _event(4, "anna", "contact", 41, item="shoes", channel="mail"),
        _event(5, "anna", "contact", 42, item="unknown"),
    ]
    history = _history(tmp_path, rows)
    history.append_items(_items(('["web","email"]', 10, 0), ("email, web, app", 30, 5)), "all")
    spine, _ = spine_of(history, goal=Goal(), until=NOW, channels="channels")
    # On day 10 the first list was not known before, on day 20 it was, from day 35 on there was another.
    assert spine["treatment"].to_pylist() == ["shoes@email-web", "shoes@app-email-web", "shoes@mail"]
    without, _ = spine_of(history, goal=Goal(), until=NOW)
    assert without["treatment"].to_pylist() == ["shoes@mail"]


def _wave():
    """On day 10 anna and ben are sent shoes, cleo nothing; dora comes only later; fred was decided nothing himself."""
    return [
        _event(1, "anna", "contact", 10, item="shoes", channel="mail"),
        _event(2, "ben", "contact", 10, item="shoes", channel="mail"),
        _event(3, "cleo", "visit", 9),
        _event(4, "dora", "visit", 10),
        _event(5, "eve", "visit", 9, late=2),
        _event(6, "fred", "no_contact", 10),
        _event(7, "ben", "contact", 12, item="shoes", channel="mail"),
        _event(8, "cleo", "purchase", 11),
    ]


def test_who_got_nothing_in_a_wave_was_known_by_then():
    spine, _ = contacts(_events(_wave()), goal=Goal(wave_size=2), until=NOW)
    found = spine.select(["customer_id", "treatment", "label"]).to_pylist()
    assert sorted(tuple(row.values()) for row in found) == [
        ("anna", "shoes@mail", False),
        ("ben", "shoes@mail", False),
        ("ben", "shoes@mail", False),
        ("cleo", "nothing", True),
        ("fred", "nothing", False),
    ]


@pytest.mark.parametrize("goal", [Goal(), Goal(wave_size=3), Goal(wave_size=2, same_item=True)])
def test_without_waves_nobody_is_added(goal):
    spine, _ = contacts(_events(_wave()), goal=goal, until=NOW)
    assert "cleo" not in spine["customer_id"].to_pylist()


def test_the_profile_says_too_who_was_known(tmp_path):
    history = _history(tmp_path, _wave())
    at = START + timedelta(days=5)
    fact = {"customer_id": "gina", "attribute": "age", "value": "44", "occurred_at": at, "recorded_at": at}
    history.append_profile(pa.Table.from_pylist([{**fact, "source": "crm"}], schema=PROFILE), "all")
    spine, _ = spine_of(history, goal=Goal(wave_size=2), until=NOW)
    assert spine["customer_id"].to_pylist().count("gina") == 1


def test_worth_makes_the_ranking_formula_equal_the_measured_profit():
    rng = np.random.default_rng(3)
    rows, number = [], 0
    for customer in range(300):
        offer = [None, "shoes", "hats"][customer % 3]
        sent = {"item": offer, "channel": "web"} if offer else {}
        rows.append(_event(f"c{customer}", f"c{customer}", "contact" if offer else "no_contact", 10, **sent))
        for kind, amount in (("purchase", 1000 + 500 * bool(offer)), ("discount", 200)):
            if rng.random() < (0.6 if offer else 0.3) and (offer or kind == "purchase"):
                number += 1
                rows.append(_event(f"x{number}", f"c{customer}", kind, 10 + 6 * rng.random()) | {"amount": amount})
    events = _events(rows)
    spine, _ = contacts(events, goal=Goal(), until=NOW)
    found = worth_of_offers(events, spine, goal=Goal())
    assert [(each.offer, each.contacts) for each in found] == [("hats", 100), ("shoes", 100)]
    sums = dict(
        duckdb.sql(
            "SELECT coalesce(c.item, 'nothing'),"
            " sum(CASE e.kind WHEN 'purchase' THEN 0.4 * e.amount ELSE -e.amount END) / 100"
            " FROM events c JOIN events e USING (customer_id)"
            " WHERE c.kind IN ('contact', 'no_contact') AND e.kind IN ('purchase', 'discount') GROUP BY 1"
        ).fetchall()
    )
    for each in found:
        value, discount = each.value_cents(margin=0.4), each.discount_cents
        ranked = each.response * (value - discount) - each.response_to_nothing * value
        assert each.profit(margin=0.4) == pytest.approx(float(sums[each.offer] - sums["nothing"]))
        assert ranked == pytest.approx(each.profit(margin=0.4), abs=1)  # value and discount are whole cents


def test_worth_needs_somebody_who_got_nothing():
    events = _events([_sent()])
    spine, _ = contacts(events, goal=Goal(), until=NOW)
    with pytest.raises(InputError, match="without customers who got nothing"):
        worth_of_offers(events, spine, goal=Goal())


def test_a_row_says_how_the_customer_reacted_to_this_very_offer(tmp_path):
    rows = [
        _event(1, "anna", "contact", 2, item="shoes", channel="mail"),
        _event(2, "anna", "open", 3, item="shoes", channel="mail"),
        _event(3, "anna", "contact", 10, item="shoes", channel="mail"),
        _event(4, "anna", "contact", 11, item="hats", channel="mail"),
        _event(5, "anna", "no_contact", 12),
    ]
    features = standard_features(offers=("shoes", "hats"), groups=("reactions",))
    words = {"offer": ("shoes", "hats")}
    found = training_set(_history(tmp_path, rows), features, goal=Goal(), until=NOW, vocabulary=words).frame
    assert found["opens_<offer>_365d"].fillna(-1).tolist() == [0, 1, 0, -1]
    assert found["contacts_<offer>_365d"].fillna(-1).tolist() == [0, 1, 0, -1]


def test_windows_that_were_open_when_the_history_stops_are_left_out(tmp_path):
    """The last file was taken in on day 15, long ago: who was sent something on day 10 may have answered since."""
    rows = [_event(1, "anna", "contact", 2, item="shoes", channel="mail"), _sent() | {"event_id": "late"}]
    rows.append(_event(3, "ben", "visit", 14, late=1))
    history = _history(tmp_path, rows)
    assert last_known(history) == START + timedelta(days=15, microseconds=1)
    found = training_set(history, FEATURES, goal=Goal())
    assert (found.label.tolist(), found.censored) == ([False], 1)
    assert training_set(history, FEATURES, goal=Goal(), until=NOW).censored == 0
    assert last_known(History(tmp_path / "empty")) <= datetime.now(UTC)


def test_a_row_says_how_the_customer_likes_the_offers_brand(tmp_path):
    rows = [
        _event(1, "anna", "visit", 2) | {"brand": "Acme"},
        _event(2, "anna", "contact", 10, item="shoes", channel="mail"),
        _event(3, "anna", "contact", 11, item="hats", channel="mail"),
    ]
    features = standard_features(brands=("Acme", "Ajax"), groups=("affinities",))
    history, words = _history(tmp_path, rows), {"brand": ("Acme", "Ajax")}
    assert not any(
        "<" in name for name in training_set(history, features, goal=Goal(), until=NOW, vocabulary=words).frame
    )
    history.append_items(_items(("Acme", 1, 0), attribute="brand"), "brands")
    found = training_set(history, features, goal=Goal(), until=NOW, vocabulary=words).frame
    assert found["interest_brand_<brand>_30d"].fillna(-1).tolist() == [1, -1]


def test_attributes_by_which_offers_hold_or_are_valued_are_no_features(tmp_path):
    history = _history(tmp_path, [_sent()])
    for attribute in ("offer_ends", "size"):
        history.append_items(_items(("7", 1, 0), attribute=attribute), attribute)
    found = training_set(history, FEATURES, goal=Goal(), until=NOW, apart=("offer_ends",)).frame
    assert "offer_size" in found and "offer_offer_ends" not in found
