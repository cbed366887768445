"""``rapport plan``: sizes, days and lifts as a person and a machine read them."""

from __future__ import annotations

import json

import pytest


def test_numbers_give_units_and_days(rapport_cli, tmp_path) -> None:
    target = tmp_path / "plan.json"
    ran = rapport_cli("plan", "--baseline", 0.1, "--lift", 0.2, "--daily", 1000, "--rho", 0.5, "--json", target)
    assert ran.exit_code == 0
    assert ran.stdout.startswith("To tell +2 points (+20.0%) from 10.00% you need 3,839 units in each of 2 arms")
    plans = json.loads(target.read_text())["plans"]
    assert [(each["looks"], each["variance_kept"]) for each in plans] == [
        ("one", 1),
        ("campaign", 1),
        ("any", 1),
        ("one", 0.75),
        ("campaign", 0.75),
        ("any", 0.75),
    ]
    assert (plans[0]["units_per_arm"], plans[0]["units"], plans[0]["days"]) == (3839, 7678, 8)
    assert plans[3]["units_per_arm"] == pytest.approx(0.75 * 3839, abs=1)
    assert plans[1]["units_per_arm"] == 3984
    assert 0.7 < plans[1]["expected_share"] < 0.85


def test_units_or_days_give_the_lift_that_can_be_told(rapport_cli, tmp_path) -> None:
    lifts = []
    for given in (("--units", 3839), ("--daily", 7678, "--days", 1)):
        target = tmp_path / "plan.json"
        assert rapport_cli("plan", "--baseline", 0.1, *given, "--json", target).exit_code == 0
        lifts.append(json.loads(target.read_text())["plans"][0]["lift"])
    assert lifts == pytest.approx([0.2, 0.2], rel=1e-3)


def test_a_table_gives_the_baseline(rapport_cli, tmp_path) -> None:
    source, target = tmp_path / "units.csv", tmp_path / "plan.json"
    source.write_text("spend,before,home\n" + "".join(f"{k % 7 + k % 3},{k % 7},{k // 2}\n" for k in range(210)))
    ran = rapport_cli(
        *(
            "plan",
            source,
            "--metric",
            "spend",
            "--covariate",
            "before",
            "--cluster",
            "home",
            "--mde",
            0.1,
            "--json",
            target,
        )
    )
    assert ran.exit_code == 0
    found = json.loads(target.read_text())
    assert found["baseline"] == pytest.approx(4.0)
    assert found["plans"][3]["variance_kept"] < 0.5
    assert found["plans"][0]["design_effect"] != 1


@pytest.mark.parametrize(
    "arguments",
    [
        (),
        ("--baseline", 0.1),
        ("--lift", 0.1),
        ("--baseline", 0.1, "--lift", 0.1, "--mde", 0.01),
        ("--baseline", 0.1, "--lift", 0),
        ("--baseline", 0.1, "--lift", 20),
        ("--baseline", 5, "--lift", 0.1),
        ("--baseline", 0.1, "--lift", 0.1, "--daily", 0),
        ("--baseline", 0.1, "--lift", 0.1, "--rho", 1),
        ("--baseline", 0.1, "--lift", 0.1, "--arms", 1),
        ("--baseline", 0.1, "--units", 0),
        ("--baseline", 0.1, "--units", -3),
        ("--baseline", 0.1, "--lift", 0.1, "--units", 0),
        ("--baseline", 0.1, "--lift", 0.1, "--daily", 1000, "--days", "nan"),
        ("--baseline", 0.1, "--lift", 0.1, "--daily", 1000, "--days", "inf"),
        ("--baseline", 0.1, "--lift", 0.1, "--daily", "nan"),
        ("--baseline", 0.1, "--lift", 1e-300),
        ("--baseline", 1e-300, "--lift", 0.1),
        ("--baseline", 3, "--std", 1e300, "--lift", 0.1),
        ("--baseline", 0.1, "--lift", "nan"),
        ("--baseline", 0, "--lift", 0.1),
        ("--baseline", 1.2, "--lift", 0.1),
        ("--baseline", 0.1, "--lift", -2),
        ("--baseline", 0.1, "--lift", 0.1, "--arms", 60),
        ("--baseline", 0.1, "--lift", 0.1, "--power", 1),
        ("--baseline", 0.1, "--lift", 0.1, "--rho", "nan"),
        ("--baseline", 0.1, "--lift", 0.1, "--design-effect", "nan"),
        ("--baseline", 0, "--std", 2, "--lift", 0.1),
        ("--baseline", 0.1, "--metric", "y", "--lift", 0.1),
        ("nowhere.csv", "--metric", "y", "--lift", 0.1),
    ],
)
def test_bad_input_ends_with_2(rapport_cli, arguments) -> None:
    ran = rapport_cli("plan", *arguments)
    assert ran.exit_code == 2
    assert all(part in ran.stderr for part in ("wrong", "got", "do"))


def test_a_lift_with_days_at_hand_is_told_whether_they_suffice(rapport_cli, tmp_path) -> None:
    """42 days of 1,000 a day are 21,000 an arm; the power is that of the normal approximation, computed here."""
    from scipy.stats import norm

    target = tmp_path / "plan.json"
    given = ("--baseline", "3.5%", "--lift", "10%", "--daily", 1000, "--days", 42)
    ran = rapport_cli("plan", *given, "--json", target)
    assert ran.exit_code == 0, ran.stderr
    spread = (0.035 * 0.965 + 0.0385 * 0.9615) / 21_000
    (one, *_) = json.loads(target.read_text())["plans"]
    assert one["power_at_hand"] == pytest.approx(norm.cdf(0.0035 / spread**0.5 - norm.isf(0.025)), abs=1e-3)
    assert ran.stdout.startswith(f"42 days do not suffice: {one['power_at_hand']:.0%} sure to see it")
    assert one["days"] > 42
    enough = rapport_cli("plan", "--baseline", 0.035, "--lift", 0.1, "--daily", 3000, "--days", 42)
    assert enough.stdout.startswith("42 days suffice: ")


def test_days_at_hand_fill_the_column_of_days(rapport_cli, tmp_path) -> None:
    target = tmp_path / "plan.json"
    rapport_cli("plan", "--baseline", 0.1, "--daily", 100, "--days", 42, "--json", target)
    assert [each["days"] for each in json.loads(target.read_text())["plans"]] == [42, 42, 42]


def test_a_covariate_that_tells_nothing_adds_no_rows(rapport_cli, tmp_path) -> None:
    target = tmp_path / "plan.json"
    rapport_cli("plan", "--baseline", 0.1, "--lift", 0.1, "--rho", 0.01, "--json", target)
    assert len(json.loads(target.read_text())["plans"]) == 3


def test_a_mean_of_zero_is_planned_by_the_difference_itself(rapport_cli) -> None:
    ran = rapport_cli("plan", "--baseline", 0, "--std", 2, "--mde", 0.1)
    assert ran.stdout.startswith("To tell +0.1 from 0 (standard deviation 2) you need 6,280 units")


def test_sessions_are_planned_by_a_table_of_them(rapport_cli, tmp_path) -> None:
    """What the refusal of a design by sessions says works: alike sessions of a customer make it larger."""
    source, target = tmp_path / "sessions.csv", tmp_path / "plan.json"
    rows = [
        f"s{customer}-{visit},c{customer},{int(customer % 4 == 0)}\n" for customer in range(200) for visit in range(3)
    ]
    source.write_text("session_id,customer_id,bought\n" + "".join(rows))
    given = ("--metric", "bought", "--cluster", "customer_id", "--lift", 0.2, "--daily", 500, "--json", target)
    ran = rapport_cli("plan", source, *given)
    assert ran.exit_code == 0, ran.stderr
    (first, *_) = json.loads(target.read_text())["plans"]
    # Three sessions, all alike, count as one.
    assert first["design_effect"] == pytest.approx(3.0, rel=0.02) and first["days"] > 1


@pytest.mark.parametrize(
    ("option", "value", "told"),
    [
        ("--power", 2, "the power"),
        ("--looks", 0, "the number of looks"),
        ("--units", 0, "--units"),
        ("--daily", "nan", "--daily"),
    ],
)
def test_what_is_out_of_range_is_refused_before_a_project_is_read(rapport_cli, tmp_path, option, value, told) -> None:
    ran = rapport_cli("plan", "--experiment", "always-on", "--project", tmp_path / "nowhere", option, value)
    assert ran.exit_code == 2 and f"{told} is out of range" in ran.stderr
