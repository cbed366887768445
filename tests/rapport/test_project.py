"""A new project works as it is, and a wrong one is told in three parts."""

from __future__ import annotations

from pathlib import Path

import pytest

from features.errors import InputError
from rapport.init import create_project
from rapport.project import load_project


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
    ],
)
def test_a_wrong_rapport_toml_is_told_in_three_parts(tmp_path: Path, text: str, wrong: str) -> None:
    (tmp_path / "rapport.toml").write_text(text, encoding="utf-8")
    with pytest.raises(InputError, match=wrong):
        load_project(tmp_path)


def test_no_project(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no project"):
        load_project(tmp_path)
