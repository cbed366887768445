"""A new project works as it is, and a wrong one is told in three parts."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pyarrow as pa
import pytest

from features.errors import InputError
from features.facts import EVENTS, Event
from rapport.init import create_project
from rapport.project import load_project
from serving.book import Consent
from serving.ledger import Ledger


@pytest.fixture
def shop(tmp_path: Path) -> Path:
    create_project(tmp_path / "shop", name="Shop & Söhne")
    return tmp_path / "shop"


def test_every_file_of_a_new_project_is_valid(shop: Path) -> None:
    project = load_project(shop)
    assert project.settings.project.name == "Shop & Söhne"
    assert [each.treatment_id for each in project.catalogue.treatments] == [
        "shoes-10@email",
        "shoes-10@web",
        "coats-new@email",
        "coats-new@mail",
    ]
    assert project.contact_policy.limits[0].count == 2
    assert project.scenarios.scenarios == ()
    assert project.experiment("always-on").headline_arm == "one_to_one"
    assert "interest_shoes_30d" in project.features.names
    assert project.history.events().num_rows == 0


def test_the_commented_examples_are_valid_too(shop: Path) -> None:
    for name in ("scenarios.toml", "rapport.toml"):
        path = shop / name
        lines = path.read_text(encoding="utf-8").splitlines()
        begin = next(place for place, line in enumerate(lines) if line in ("# [[scenarios]]", "# [[feature]]"))
        end = next((at for at in range(begin, len(lines)) if not lines[at].startswith("# ")), len(lines))
        lines[begin:end] = [line.removeprefix("# ") for line in lines[begin:end]]
        path.write_text("\n".join(lines), encoding="utf-8")
    project = load_project(shop)
    assert project.scenarios.scenarios[0].owner == "Ada"
    assert "shoe_searches_14d" in project.features.names


def test_a_project_is_not_written_over(shop: Path) -> None:
    with pytest.raises(InputError, match="already taken"):
        create_project(shop, name="Other")


@pytest.mark.parametrize(
    ("text", "wrong"),
    [
        ("[project]\nnam = 'x'\n", "unknown key"),
        ("[project]\nname = 3\n", "declared wrongly"),
        ("[project\n", "can't be read as TOML"),
        ("[project]\nname = 'x'\n[[source]]\nname = 'a b'\nfile = 'x'\nrows = 'events'\n[source.columns]\n", "id"),
        ("[project]\nname = 'x'\n[sourse]\n", "unknown key"),
        ("source = 'x'\n[project]\nname = 'x'\n", "source is declared wrongly"),
        ("[project]\nname = 'x'\n[source]\nname = 'till'\n", "source is declared wrongly"),
        ("source = [1, 2]\n[project]\nname = 'x'\n", "source is declared wrongly"),
        ("a = " + "[" * 3000 + "]" * 3000 + "\n", "can't be read as TOML"),
        ("[project]\nname = 'x'\nmargin = nan\n", "margin"),
        ("[project]\nname = 'x'\nmargin = -0.1\n", "margin"),
        ("[project]\nname = 'x'\nmargin = 1.1\n", "margin"),
        ("[project]\nname = 'x'\n[response]\nwindow_days = -5.0\n", "window_days"),
        ("[project]\nname = 'x'\n[response]\nwindow_days = inf\n", "window_days"),
        ("[project]\nname = 'x'\n[response]\nwindow_days = nan\n", "window_days"),
        ("[project]\nname = 'x'\n[response]\ndelay_days = -1\n", "delay_days"),
        ("[project]\nname = 'x'\n[response]\ndelay_days = nan\n", "delay_days"),
        ("[project]\nname = 'x'\n[response]\nkinds = []\n", "kind"),
        ("[project]\nname = 'x'\n[response]\nrecorded_until = 2017-12-31T00:00:00\n", "no time zone"),
    ],
)
def test_a_wrong_rapport_toml_is_told_in_three_parts(tmp_path: Path, text: str, wrong: str) -> None:
    (tmp_path / "rapport.toml").write_text(text, encoding="utf-8")
    with pytest.raises(InputError, match=wrong):
        load_project(tmp_path)


@pytest.mark.parametrize("name", ["a\nb", "\x00\x1b", 'say "x"', 'ü"""', "back\\slash", " "])
def test_a_name_that_toml_cannot_hold_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(InputError, match="name can't be written"):
        create_project(tmp_path / "shop", name=name)
    assert not (tmp_path / "shop").exists()


def test_a_name_with_an_apostrophe_is_kept(tmp_path: Path) -> None:
    create_project(tmp_path / "shop", name="Sainsbury's")
    assert load_project(tmp_path / "shop").settings.project.name == "Sainsbury's"


@pytest.mark.parametrize("folder", ["file/shop", "x" * 300, "a\0b"])
def test_a_folder_that_cannot_be_made_is_told(tmp_path: Path, folder: str) -> None:
    (tmp_path / "file").write_text("kept", encoding="utf-8")
    with pytest.raises(InputError, match="project can't be written"):
        create_project(tmp_path / folder, name="Shop")


def test_no_project(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no project"):
        load_project(tmp_path)


def test_contacts_whose_responses_nobody_recorded_are_left_out(tmp_path: Path) -> None:
    settings = """
        [project]
        name = "x"
        [response]
        kinds = ["discount"]
        window_days = 7
        recorded_from = 2017-01-01T00:00:00Z
        recorded_until = 2017-01-31T00:00:00Z
    """
    (tmp_path / "rapport.toml").write_text(settings, encoding="utf-8")
    project = load_project(tmp_path)
    sent = [datetime(2016, 12, 31, tzinfo=UTC), *(datetime(2017, 1, day, tzinfo=UTC) for day in (1, 20, 23, 24, 31))]
    facts = [
        Event(f"c{place}", f"h{place}", "contact", at, at, channel="mail", item="letter")
        for place, at in enumerate(sent)
    ]
    answer = datetime(2017, 1, 21, tzinfo=UTC)
    facts.append(Event("d", "h2", "discount", answer, answer, item="letter"))
    project.history.append(pa.Table.from_pylist([each._asdict() for each in facts], schema=EVENTS), part="all")
    found = project.contacts()
    # The first was sent before the records begin; the windows of the 24th and 31st end when they do, or later.
    assert [at.day for at in found.times] == [1, 20, 23]
    assert found.label.tolist() == [False, True, False]
    assert found.customers.tolist() == ["h1", "h2", "h3"]
    assert len(found.frame) == 3


def test_an_objection_told_to_the_service_stops_further_training_on_it(tmp_path: Path) -> None:
    settings = """
        [project]
        name = "x"
        [features]
        groups = ["frequency"]
    """
    (tmp_path / "rapport.toml").write_text(settings, encoding="utf-8")
    project = load_project(tmp_path)
    day = [datetime(2024, 5, each, tzinfo=UTC) for each in range(1, 30)]
    facts = [Event(f"v{who}", who, "visit", day[0], day[0]) for who in ("anna", "ben")]
    facts += [
        Event(f"c{who}", who, "contact", day[2], day[2], channel="mail", item="letter") for who in ("anna", "ben")
    ]
    facts.append(Event("later", "cleo", "visit", day[20], day[20]))  # the files go on, so nobody answered
    project.history.append(pa.Table.from_pylist([each._asdict() for each in facts], schema=EVENTS), part="all")
    assert project.contacts().frame["visits_7d"].tolist() == [1, 1]
    objection = Consent(
        customer_id="anna",
        channel="all",
        contact_class="all",
        purpose="personalization",
        granted=False,
        source="customer",
        occurred_at=day[20],
        recorded_at=day[20],
    )
    ledger = Ledger(project.ledger)
    with ledger.writing() as book:
        book.consent([objection])
    ledger.close()
    assert project.contacts().frame["visits_7d"].fillna(-1).tolist() == [-1, 1]


def test_a_holdout_from_a_channel_that_is_not_there_is_refused(shop: Path) -> None:
    path = shop / "rapport.toml"
    told = path.read_text(encoding="utf-8")
    path.write_text(told + "\n[holdout]\nshare = 0.1\nchannels = { emial = 0.05 }\n", encoding="utf-8")
    with pytest.raises(InputError, match=r"unknown channel in \[holdout\] channels 'emial'.*did you mean 'email'"):
        load_project(shop)
    # One that the vocabulary doesn't name, but an offer is sent on.
    path.write_text(told + "\n[holdout]\nshare = 0.1\nchannels = { push = 0.05 }\n", encoding="utf-8")
    with pytest.raises(InputError, match="name a channel"):
        load_project(shop)
    offers = shop / "offers.toml"
    offers.write_text(offers.read_text(encoding="utf-8").replace('channel = "mail"', 'channel = "push"'), "utf-8")
    assert load_project(shop).holdout is not None
