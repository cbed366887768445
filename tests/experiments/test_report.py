"""The lift report: what it says, that it says nothing wrong, and that its page is sound."""

from __future__ import annotations

import base64
import csv
import io
import re
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from html.parser import HTMLParser
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from experiments.design import Arm, Experiment
from experiments.measures import Goal, Guardrail
from experiments.report import HealthCheck, Report, health_checks, look_points, render
from experiments.report.numbers import numbers_csv, numbers_json
from experiments.report.sentences import decision, headline
from experiments.report.words import Scale, money_scale, sentence, tidy
from experiments.results import Analysis, ArmCount, Cap, MetricRow, SampleRatio, SegmentRow, Verdict
from experiments.rules import Ramp
from features.errors import InputError

DAY = datetime(2026, 3, 2, tzinfo=UTC)
EURO = money_scale("EUR")
ALL = ", if all 10,000 customers got it"
UNCLEAR = f"Not clear yet: €2,000 less to €30,000 more with personal than with static{ALL}"
VOID = {"meta", "line", "circle", "link", "br", "path", "use", "rect"}


def goal(name: str = "revenue", *, kind: str = "sum", **more: object) -> Goal:
    return Goal(name=name, kind=kind, events=("purchase",), window_days=14, **more)  # type: ignore[arg-type]


def row(metric: str = "revenue", *, span: tuple[float, float] = (100.0, 300.0), arm: str = "personal") -> MetricRow:
    """A row whose anytime interval is ``span``; the fixed one is half as wide, a campaign's three quarters."""
    low, high = span
    middle, half = (low + high) / 2, (high - low) / 2
    return MetricRow(
        metric=metric, arm=arm, control="static", arm_mean=0.1 + middle, control_mean=0.1, difference=middle,
        ci_low=middle - half / 2, ci_high=middle + half / 2, relative=None, relative_ci_low=None, relative_ci_high=None,
        p_value=0.001, anytime_ci_low=low, anytime_ci_high=high, anytime_p_value=0.001,
        adjusted_p_value=0.001 if low > 0 or high < 0 else 0.5, n_arm=5_000, n_control=5_000,
        sequential_ci_low=middle - 0.75 * half, sequential_ci_high=middle + 0.75 * half, sequential_p_value=0.001,
    )  # fmt: skip


def small(
    *rows: MetricRow, goals: tuple[Goal, ...] = (), names: tuple[str, str] = ("static", "personal"), **more: object
) -> Report:
    """A report with two arms and nothing else than what is asked for; its look is the last but for other ``kind``s."""
    kind = more.pop("kind", more.get("stop_rule", "anytime"))
    design = Experiment(
        key="autumn", title="Autumn", hypothesis="what fits sells more",
        arms=tuple(Arm(name=name, shows=f"what {name} shows", policy=name, share=0.5) for name in names),
        control=names[0], goals=goals or (goal(money=True),), start=DAY - timedelta(weeks=8), end=DAY,
        stop_rule=more.pop("stop_rule", "anytime"),  # type: ignore[arg-type]
        guardrails=more.pop("guardrails", ()),  # type: ignore[arg-type]
    )  # fmt: skip
    analysis = Analysis(
        arms=tuple(ArmCount(arm=name, n=5_000, planned_share=0.5) for name in names),
        srm=more.pop("srm", SampleRatio(p_value=0.4, status="green")),  # type: ignore[arg-type]
        metrics=rows or (row(),),
        segments=more.pop("segments", ()),  # type: ignore[arg-type]
        verdict=Verdict(code=more.pop("code", "roll_out"), sentence="The rule's own words."),  # type: ignore[arg-type]
        kind=kind,  # type: ignore[arg-type]
    )
    return Report(experiment=design, analysis=analysis, as_of=DAY, **more)  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def example(example_report: Callable[..., Report]) -> Report:
    return example_report(customers=8_000, weeks=3)


@pytest.fixture(scope="module")
def page(example: Report) -> str:
    return render(example)


class Sound(HTMLParser):
    """Collects what makes a page sound, from its tags alone."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.crossed: list[str] = []
        self.heads: list[str] = []
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        if tag in VOID:
            return
        if not self.open or self.open.pop() != tag:
            self.crossed.append(tag)

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] in {"h1", "h2"}:
            self.heads.append(data.strip())

    def all(self, name: str) -> list[dict[str, str | None]]:
        return [attributes for tag, attributes in self.tags if tag == name]


def test_the_page_is_sound_html_with_headings_in_order(page: str) -> None:
    sound = Sound(page)
    assert not sound.crossed and not sound.open
    levels = [int(tag[1]) for tag, _ in sound.tags if re.fullmatch("h[1-6]", tag)]
    assert levels[0] == 1 and levels.count(1) == 1
    assert all(after - before <= 1 for before, after in pairwise(levels))
    assert sound.all("html")[0]["lang"] == "en"


def test_nothing_on_the_page_runs_or_asks_the_network(page: str) -> None:
    sound = Sound(page)
    assert not {"script", "iframe", "img", "link", "object", "form"} & {tag for tag, _ in sound.tags}
    assert not [name for _, attributes in sound.tags for name in attributes if name.startswith("on")]
    addresses = [
        value or "" for _, each in sound.tags for name, value in each.items() if name in {"href", "src", "xlink:href"}
    ]
    assert all(address.startswith(("#", "data:text/csv")) for address in addresses)
    assert "@import" not in page
    assert all(target.startswith("#") for target in re.findall(r"url\(([^)]*)\)", page))
    outside = set(re.findall(r"https?://[^\s\"'<)]+", page)) - {
        "http://www.w3.org/2000/svg",
        "http://www.w3.org/1999/xlink",
    }
    assert not outside


def test_every_picture_is_named_and_has_its_numbers_as_a_table(page: str) -> None:
    sound = Sound(page)
    assert all(each.get("role") == "img" and each.get("aria-label") for each in sound.all("svg"))
    figures = page.split("<figure>")[1:]
    assert len(figures) >= 6
    assert all("<table>" in figure.partition("</section>")[0] for figure in figures)


def test_tables_name_their_columns_and_rows(page: str) -> None:
    sound = Sound(page)
    assert len(sound.all("caption")) == len(sound.all("table"))
    assert all(each.get("scope") in {"col", "row"} for each in sound.all("th"))
    assert all(
        each.get("tabindex") == "0" and each.get("aria-label")
        for each in sound.all("div")
        if each.get("role") == "region"
    )


def test_ids_are_unique_and_links_within_the_page_arrive(page: str) -> None:
    sound = Sound(page)
    ids = [each["id"] for _, each in sound.tags if "id" in each]
    assert len(ids) == len(set(ids))
    named = {f"#{each}" for each in ids}
    targets = [each["href"] for _, each in sound.tags if (each.get("href") or "").startswith("#")]
    targets += re.findall(r"url\((#[^)]*)\)", page)
    assert set(targets) <= named


def test_the_page_has_all_parts_and_a_bounded_size(page: str) -> None:
    heads = " | ".join(Sound(page).heads)
    first = ("trusted", "goals", "compared", "Guardrails", "All arms", "Channels", "Over time", "bandit")
    then = ("revenue to profit", "ladder", "models looked", "got nothing", "standards", "truth", "Words", "comes from")
    assert [part for part in (*first, *then) if part not in heads] == []
    assert len(page.encode()) < 400_000
    assert "Simulated customers" in page


def test_no_customer_is_on_the_page(page: str, example: Report) -> None:
    """D7: reports hold counts and sums; the simulated customers are called c000000 and so on."""
    assert not re.search(r"\bc\d{6}\b", page + numbers_csv(example))


def test_the_same_report_gives_the_same_bytes(example: Report, page: str) -> None:
    assert render(example) == page


def test_parts_without_data_are_left_out() -> None:
    heads = Sound(render(small())).heads
    assert [head for head in heads if head] == [
        f"Personal would bring €10,000 to €30,000 more than static{ALL}", "Roll out", "Can the numbers be trusted?",
        "The goals", "What was compared", "Words and method", "Where this comes from",
    ]  # fmt: skip


def test_the_csv_in_the_page_holds_all_rows(page: str, example: Report) -> None:
    raw = re.search(r'href="data:text/csv;charset=utf-8;base64,([^"]+)"', page)
    assert raw is not None
    rows = list(csv.DictReader(io.StringIO(base64.b64decode(raw.group(1)).decode())))
    goals = [each for each in rows if each["part"] == "goals"]
    assert len(goals) == len(example.analysis.metrics)
    assert float(goals[0]["estimate"]) == example.analysis.metrics[0].difference
    assert {each["part"] for each in rows} >= {
        "segments",
        "looks",
        "money",
        "ladder",
        "channels",
        "no contact",
        "standards",
    }


@pytest.mark.parametrize(
    ("span", "code", "said"),
    [
        ((100.0, 300.0), "roll_out", f"Personal would bring €10,000 to €30,000 more than static{ALL}"),
        ((0.4, 40.0), "keep_running", f"Personal would bring €40 to €4,000 more than static{ALL}"),
        ((-300.0, -100.0), "stop", f"Personal would bring €10,000 to €30,000 less than static{ALL}"),
        ((-20.0, 300.0), "keep_running", UNCLEAR),
        ((float("nan"), float("nan")), "keep_running", "Too few customers yet to compare personal with static"),
    ],
)  # fmt: skip
def test_the_headline_is_a_range_in_money(span: tuple[float, float], code: str, said: str) -> None:
    report = small(row(span=span), code=code)
    assert headline(report).text == said
    assert decision(report).code == code
    assert said in render(report).replace("\N{WORD JOINER}", "")


def test_a_goal_that_is_no_money_is_told_per_thousand_and_in_money_below() -> None:
    goals = (goal("bought", kind="any", unit="buyer"), goal(money=True))
    report = small(row("bought", span=(0.011, 0.023)), row(span=(-50.0, 70.0)), goals=goals)
    assert headline(report).text == "Personal brought 11 to 23 more buyers per 1,000 customers than static"
    assert "In money, if all 10,000 customers got it: −€5,000 to +€7,000 of revenue." in headline(report).below


def test_what_all_would_bring_is_kept_apart_from_what_the_arm_did_bring() -> None:
    """The headline is for the 10,000 of the experiment; 5,000 of them got it, each worth €1 to €3."""
    report = small(row(span=(100.0, 300.0)))
    assert (
        "Among the 5,000 customers who did get it, it brought +€5,000 to +€15,000 beyond static."
        in headline(report).below
    )
    page = render(replace(report, audience=80_000)).replace("\N{WORD JOINER}", "")
    assert "Personal would bring €80,000 to €240,000 more than static, if all 80,000 customers got it" in page
    assert "Among the 5,000 customers who did get it, it brought +€5,000 to +€15,000 beyond static." in page
    assert "Money is what personal would bring if all 80,000 customers got it." in page


def test_a_red_check_replaces_the_headline_and_the_decision() -> None:
    report = small(health=health_checks(contacts_to_opted_out=("d1", "d2")))
    assert headline(report).text == "Do not trust these numbers yet"
    assert decision(report).code == "do_not_trust"
    assert "2 contacts went to customers who had opted out" in headline(report).below
    unbalanced = small(srm=SampleRatio(p_value=1e-9, status="red"))
    assert headline(unbalanced).tone == "red"
    assert "brought" not in Sound(render(unbalanced)).heads[0]


def test_an_opt_out_that_arrived_after_the_contact_is_to_be_watched_and_no_breach() -> None:
    ids = tuple(f"d{number}" for number in range(9))
    (late,) = health_checks(contacts_to_opted_out=(), told_later=ids)
    assert (late.status, late.decisions) == ("yellow", ids[:5])
    assert late.sentence.startswith("9 contacts went out before the opt-out had arrived")
    assert "docs/intake.md" in late.sentence
    report = small(health=(late,))
    assert report.trusted and decision(report).code == decision(small()).code
    assert not [each for each in ids if f">{each}<" in render(report) or f" {each}" in render(report)]
    assert numbers_json(report)["health"][-1]["decisions"] == list(ids[:5])
    (both,) = health_checks(contacts_to_opted_out=("a",), told_later=ids)
    assert (both.status, both.decisions) == ("red", ("a",))
    assert both.sentence.startswith("1 contact went to customers who had opted out, which was known")
    assert "9 contacts went out before" in both.sentence


def test_the_page_tells_all_that_was_fixed_and_the_shares_of_those_who_came() -> None:
    """Of 10,000, 6,000 came under 50 to 50 and 4,000 under 20 to 80: static was planned to have 38%, as it says."""
    ramp = (Ramp(at=DAY - timedelta(days=20), shares={"static": 0.2, "personal": 0.8}),)
    report = small(goals=(goal(money=True, cap=30_000),))
    design = replace(report.experiment, ramp=ramp, planned_units=11_000, largest_loss=500_000)
    report = replace(report, experiment=design)
    fixed = dict(decision(report).criteria)
    assert fixed["Cap"].endswith("counts up to €300.")
    assert fixed["Planned"] == "11,000 customers, all arms together."
    assert fixed["To be stopped"] == "An arm that has cost more than €5,000, as estimated."
    assert "; from 10 February 2026 static 20%, personal 80% (" in fixed["Shares"]
    arms = tuple(replace(arm, planned_share={"static": 0.38}.get(arm.arm, 0.62)) for arm in report.analysis.arms)
    cap = Cap(metric=report.goal.name, cap=30_000.0, share=None, above={})
    notes = (f"{report.goal.name}: values above the declared cap of 30,000 count as it: none.",)
    page = render(replace(report, analysis=replace(report.analysis, arms=arms, caps=(cap,), notes=notes)))
    assert ">38%<" in page and ">62%<" in page
    assert "Planned on the way: " in page and "declared cap of €300" in page


def test_who_is_in_already_shortens_the_wait() -> None:
    unclear = small(row(span=(-100.0, 300.0)), stop_rule="group_sequential", code="keep_running")
    early = replace(unclear, as_of=DAY - timedelta(days=28))
    # Half as many again are needed, 5,000; all of them are in, and the last is mature in three days.
    waiting = replace(early, waiting=5_000, waiting_until=early.as_of + timedelta(days=3))
    assert decision(waiting).sentence.endswith("about 3 more days would clear it.")
    # With 2,000 waiting, 12,000 came in 28 days: 5,000 more take 12 days at that pace.
    some = replace(early, waiting=2_000, waiting_until=early.as_of + timedelta(days=3))
    assert decision(some).sentence.endswith("about 12 more days would clear it.")


def test_one_kind_of_interval_stands_on_the_page() -> None:
    spans = {"anytime": "+€1.00 to +€3.00", "fixed": "+€1.50 to +€2.50", "group_sequential": "+€1.25 to +€2.75"}
    said = {"anytime": "however often", "fixed": "planned end", "group_sequential": "over all looks at this campaign"}
    for kind in spans:
        page = render(small(stop_rule=kind)).replace("\N{WORD JOINER}", "")
        assert [other for other, text in spans.items() if text in page] == [kind]
        assert said[kind] in page


def test_a_campaign_says_until_when_it_is_looked_at_and_at_its_end_gives_no_answer_where_there_is_none() -> None:
    unclear = small(row(span=(-100.0, 300.0)), stop_rule="group_sequential", code="keep_running")
    early = replace(unclear, as_of=DAY - timedelta(days=28))
    assert "until the last on 2 March 2026" in headline(early).below
    assert decision(early).word == "Keep running"
    # Half the width is 150, the difference 100: in 28 days, half as long again, it would be clear.
    assert decision(early).sentence.endswith("If the difference stays, about 14 more days would clear it.")
    near = replace(unclear, as_of=DAY - timedelta(days=7))
    assert decision(near).sentence.endswith("it will not be clear by the end on 2 March 2026 either.")
    assert "of which this is the last" in headline(unclear).below
    assert headline(unclear).text.startswith("Not clear at the end: ")
    assert (decision(unclear).code, decision(unclear).word) == ("keep_running", "No clear answer")
    assert "The experiment ends here, so static stays" in decision(unclear).sentence


def test_a_guardrail_is_told_by_the_one_side_that_its_limit_is_about() -> None:
    guard = Guardrail(name="opted_out", kind="any", events=("opt_out",), window_days=7, limit=0.01)
    kept = replace(row("opted_out", span=(-0.009, 0.011)), highest=0.0092)
    page = render(small(row(), kept, guardrails=(guard,))).replace("\N{WORD JOINER}", "")
    assert "+0.10, at most +0.92 points" in page and "within the limit" in page


@pytest.mark.parametrize("code", ["roll_out", "stop", "keep_running"])
def test_a_look_before_the_planned_end_decides_nothing_and_its_ranges_hold_at_every_look(code: str) -> None:
    early = replace(small(stop_rule="fixed", kind="anytime", code=code), as_of=DAY - timedelta(days=9))
    assert "preview" in headline(early).below and "2 March 2026" in headline(early).below
    assert decision(early).code == "keep_running"
    assert decision(early).sentence.startswith("One look was planned, for 2 March 2026; this earlier one decides")
    page = render(early).replace("\N{WORD JOINER}", "")
    assert "+€1.00 to +€3.00" in page and "+€1.50 to +€2.50" not in page
    assert "The rule's own words." not in page
    assert numbers_json(early)["decision"]["code"] == "keep_running"


def test_the_planned_look_waits_for_the_usual_delay_of_records() -> None:
    late = small(goals=(goal(money=True, delay_days=12),), stop_rule="fixed")
    assert late.early and decision(late).code == "keep_running"
    assert not replace(late, as_of=DAY + timedelta(days=12)).early
    broken = replace(late, health=health_checks(contacts_to_opted_out=("d1", "d2")))
    assert decision(broken).code == "do_not_trust"


def test_earlier_looks_of_a_fixed_design_show_no_range() -> None:
    report, before = small(stop_rule="fixed"), small(stop_rule="fixed", kind="anytime")
    looks = tuple(
        point
        for week, look in ((2, before), (1, before), (0, report))
        for point in look_points(look.analysis, experiment=look.experiment, as_of=DAY - timedelta(weeks=week))
    )
    assert [(point.ci_low, point.ci_high) for point in looks] == [(100, 300), (100, 300), (150, 250)]
    assert render(replace(report, looks=looks)).count("only at the planned end") == 2
    early = replace(before, looks=looks[:2], as_of=DAY - timedelta(weeks=1))
    assert "only at the planned end" not in render(early)


def test_the_best_arm_is_named_when_it_is_not_that_of_the_headline(example: Report) -> None:
    few = next(each for each in example.analysis.metrics if (each.metric, each.arm) == ("profit", "few"))
    ahead = replace(few, difference=90.0, anytime_ci_low=50.0, anytime_ci_high=130.0, adjusted_p_value=0.001)
    metrics = tuple(ahead if each is few else each for each in example.analysis.metrics)
    verdict = Verdict(code="roll_out", sentence="")
    report = replace(example, analysis=replace(example.analysis, metrics=metrics, verdict=verdict))
    assert decision(report).sentence.startswith(
        "Few beat static in profit, by +€0.50 to +€1.30 per customer, more than one-to-one"
    )


def test_guardrails_are_judged_by_their_limit() -> None:
    guards = tuple(
        Guardrail(name=name, kind="any", events=("x",), window_days=7, limit=0.01) for name in ("fine", "over", "open")
    )
    spans = {"fine": (-0.002, 0.008), "over": (0.02, 0.05), "open": (0.005, 0.03)}
    rows = [row(name, span=span) for name, span in spans.items()]
    html = render(small(row(), *rows, guardrails=guards))
    told = re.findall(r'<th scope="row">(fine|over|open)<.*?(within the limit|above the limit|not clear yet)', html)
    assert told == [("fine", "within the limit"), ("over", "above the limit"), ("open", "not clear yet")]


def test_a_gain_whose_guardrail_is_not_known_to_be_kept_is_told_as_the_panel_tells_it() -> None:
    guard = Guardrail(name="opted_out", kind="any", events=("opt_out",), window_days=7, limit=0.01)
    over = small(row(), row("opted_out", span=(0.02, 0.05)), guardrails=(guard,), code="keep_running")
    assert decision(over).sentence == "Personal is ahead, but opted out rose above the limit."
    unclear = small(row(), row("opted_out", span=(0.005, 0.03)), guardrails=(guard,), code="keep_running")
    clear = "The gain of personal in revenue is clear (+€1.00 to +€3.00 per customer), but whether opted out stays"
    assert decision(unclear).sentence == f"{clear} within its limit can't be told yet."
    at_the_end = small(
        row(),
        row("opted_out", span=(0.005, 0.03)),
        guardrails=(guard,),
        code="keep_running",
        stop_rule="group_sequential",
        kind="anytime",
    )
    assert decision(at_the_end).word == "No clear answer"
    assert decision(at_the_end).sentence == f"{clear} within its limit can't be told, so static stays."
    both = (guard, replace(guard, name="returned"))
    rows = (row("opted_out", span=(0.005, 0.03)), row("returned", span=(0.02, 0.05)))
    mixed = small(row(), *rows, guardrails=both, code="keep_running")
    assert decision(mixed).sentence.startswith(
        "Personal is ahead, but opted out may be above the limit, and returned rose"
    )
    # A rise beyond chance, yet within the limit, stands in nobody's way.
    within = small(row(), row("opted_out", span=(0.001, 0.008)), guardrails=(guard,), code="roll_out")
    assert decision(within).sentence.startswith("Personal beat static")


def test_an_arm_that_is_rolled_out_for_harming_less_is_not_called_better() -> None:
    guard = Guardrail(name="opted_out", kind="any", events=("opt_out",), window_days=7, limit=0.01)
    rows = [row(), row("opted_out", span=(0.02, 0.05)), row(arm="calm", span=(50.0, 90.0))]
    rows.append(row("opted_out", span=(-0.001, 0.004), arm="calm"))
    told = decision(small(*rows, guardrails=(guard,), code="roll_out")).sentence
    assert told == (
        "Calm beat static in revenue, by +€0.50 to +€0.90 per customer; "
        "not personal with +€1.00 to +€3.00: opted out rose above the limit."
    )


def test_a_gain_that_may_be_too_small_is_told_with_what_would_be_worth_it() -> None:
    report = small(row(span=(100.0, 300.0)), goals=(goal(money=True, worth=150),), code="keep_running")
    assert decision(report).sentence.endswith(
        "but it may still bring less than the +€1.50 that would be worth acting on."
    )


def test_too_few_customers_are_grey_and_not_told() -> None:
    tiny = SegmentRow(**{**vars(row()), "n_arm": 40}, segment="region", value="islands")
    html = render(small(row(), segments=(tiny,)))
    assert "too few" in html and "Grey" in html


HOSTILE = (
    "<script>alert(1)</script>",
    "=cmd|' /C calc'!A0",
    "a\r\nSet-Cookie: b",
    "$\\frac{1}{2}$ & \"'>",
    "+1+1",
    "\u202egnihton",
)


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_name_stays_a_name(name: str) -> None:
    """D6: in arms, segments, titles, checks and provenance; on the page and in the CSV."""
    arm = title = name if name.isprintable() else "personal"  # a design refuses what can't be printed
    mine = replace(row(arm=arm), control="static")
    segment = SegmentRow(**vars(mine), segment=name, value=name)
    report = small(mine, names=("static", arm), segments=(segment,))
    report = replace(
        report,
        experiment=replace(report.experiment, title=title, hypothesis=title),
        health=(HealthCheck(name=name, status="green", sentence=name),),
        provenance=((name, name),),
        company=name,
    )
    html = render(report)
    assert "<script" not in html and not Sound(html).crossed
    assert "\r" not in html and "Set-Cookie: b\n" not in html
    assert "\u202e" not in html
    for cells in csv.reader(io.StringIO(numbers_csv(report))):
        assert not [cell for cell in cells if cell[:1] in "=@" and cell]
        assert not [cell for cell in cells if cell[:1] in "+-" and cell and not _is_number(cell)]
        assert len(cells) == 17


def _is_number(cell: str) -> bool:
    try:
        float(cell)
    except ValueError:
        return False
    return True


def test_a_page_of_numbers_that_could_not_be_computed_is_still_a_page(example: Report) -> None:
    nan = float("nan")
    metrics = tuple(
        replace(each, anytime_ci_low=nan, anytime_ci_high=nan, difference=nan) for each in example.analysis.metrics
    )
    looks = tuple(replace(each, difference=nan, ci_low=nan, ci_high=nan) for each in example.looks)
    channels = tuple(replace(each, profit_per_1000=nan, ci_low=nan, ci_high=nan) for each in example.channels)
    html = render(replace(example, analysis=replace(example.analysis, metrics=metrics), looks=looks, channels=channels))
    assert "Too few customers yet" in html and "not known" in html
    assert not re.search(r"\bnan\b", re.sub(r"base64,\S+", "", html), re.IGNORECASE)


def test_an_analysis_without_the_goal_of_the_design_is_refused() -> None:
    with pytest.raises(InputError, match="lacks the row of the headline"):
        small(row("visits"))


def test_the_machine_numbers_have_no_nan() -> None:
    numbers = numbers_json(small(row(span=(float("nan"), float("nan")))))
    assert numbers["analysis"]["metrics"][0]["anytime_ci_low"] is None
    assert numbers["people"] == 10_000


def test_the_money_of_the_example_adds_up_to_its_history(example: Report) -> None:
    assert f"{EURO.number(sum(each.revenue for each in example.money), spread=10)}, to the cent" in render(example)


@given(value=st.floats(-1e7, 1e7), spread=st.floats(1e-3, 1e7))
def test_a_number_is_rounded_to_what_is_known_and_keeps_its_side_of_zero(value: float, spread: float) -> None:
    scale = Scale(finest=6)
    text = scale.number(value, spread=spread)
    shown = float(text.replace(",", "").replace("−", "-"))
    # Two digits of the spread are kept, so at most a twentieth of it is lost, or half of the sixth decimal.
    assert abs(shown - value) <= max(0.05 * spread, 5e-7) + 1e-9 * abs(value)
    assert value == 0 or abs(value) < 1e-9 or shown * value > 0


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (EURO.span(-40, 230), "−€0.40 to €2.30"),
        (EURO.span(123_456, 345_678), "€1,200 to €3,500"),
        (EURO.exact(10, signed=True), "+€0.10"),
        (money_scale("CHF").number(123_400, spread=10_000), "CHF\N{NO-BREAK SPACE}1,230"),
        (Scale(factor=100, suffix=" points").span(0.011, 0.023, signed=True), "+1.10 to +2.30 points"),
        (EURO.number(float("inf"), spread=1), "not known"),
        (sentence("p is adjusted"), "p is adjusted."),
        (tidy(" a\r\n\tb\u200b "), "a b"),
    ],
)  # fmt: skip
def test_numbers_and_names_read_well(text: str, said: str) -> None:
    assert text == said


@pytest.mark.parametrize(
    ("recommended", "said"),
    [
        ("nothing", "No step surely earns more than sending nothing."),
        (
            "segment",
            "It pays to go as far as segments: no later step surely earns more. The next one, few groups, adds",
        ),
        ("one_to_one", "It pays to personalize all the way, to one-to-one"),
    ],
)
def test_the_ladder_says_where_personalization_stops_paying(example: Report, recommended: str, said: str) -> None:
    assert example.ladder is not None
    report = replace(example, ladder=replace(example.ladder, recommended=recommended))
    assert said in render(report)


def test_a_ladder_that_is_not_in_cents_speaks_its_own_words(example: Report) -> None:
    assert example.ladder is not None
    ladder = replace(example.ladder, sentence="Stop at static: 12 visits per 1,000", unit="visits", scale=1000.0)
    html = render(replace(example, ladder=ladder, ladder_in_cents=False))
    assert "Stop at static: 12 visits per 1,000." in html and "Value of each step, visits" in html


def test_the_range_of_an_arm_that_surely_loses_is_not_said_to_hold_a_gain() -> None:
    report = small(row(span=(-300.0, -100.0)), code="keep_running")
    assert "brings less than static" in decision(report).sentence
    assert "both loss and gain" not in decision(report).sentence
