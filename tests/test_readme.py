"""The README's commands and code, run as they stand, beside a small demo."""

from __future__ import annotations

import json
import re
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest

from features.tables import read_table

ROOT = Path(__file__).resolve().parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")


def _blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", README, flags=re.DOTALL)


COMMANDS = [
    line.strip()
    for block in _blocks("console")
    for line in block.replace("\\\n", " ").splitlines()
    if line.strip().startswith("rapport ")
]


def test_every_command_runs_as_it_stands_beside_a_small_demo(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, rapport_cli: Callable[..., Any]
) -> None:
    monkeypatch.chdir(tmp_path)
    demo = rapport_cli("demo", "--customers", 2000, "--weeks", 2, "--trials", 1, "--json", "demo.json")
    assert demo.exit_code == 0, demo.stderr
    assert (tmp_path / "rapport-demo" / "lift-report.html").stat().st_size > 50_000
    told = json.loads((tmp_path / "demo.json").read_text(encoding="utf-8"))
    assert [row["held"] for row in told["truths"]].count(True) >= 5  # of six 95% intervals
    (hint,) = re.findall(r"^its numbers\s+\S*rapport (analyze .*)$", demo.stdout, flags=re.MULTILINE)
    analyze = next(command for command in COMMANDS if command.startswith("rapport analyze "))
    for words in (hint.split(), analyze.split()[1:]):
        _gives_the_reports_numbers(rapport_cli(*words, "--json", "analysis.json"), truths=told["truths"])
    assert "(not promoted)" in " ".join(demo.stdout.split())
    assert "fall back on the static contact" in " ".join(demo.stdout.split())
    assert len(COMMANDS) == 22
    for command in COMMANDS:
        command = command.replace("2024-02-27", "2024-01-23").replace("2024-03-10", "2024-01-28")  # its weeks are 2
        if "{decision}" in command:
            decided = read_table(tmp_path / "rapport-demo" / "decisions.parquet")["decision_id"][0].as_py()
            command = command.replace("{decision}", decided)
        done = rapport_cli(*command.split()[1:])
        assert done.exit_code == 0, f"{command}\n{done.stdout}\n{done.stderr}"
        assert done.stdout
        assert "Do not trust these numbers" not in done.stdout, command
        if command.startswith("rapport learn "):
            said = " ".join(done.stdout.split())
            assert "what came in the 7 days after it, as --window says" in said
            assert "own window is 14 days. What was learned keeps its window: pass --window 7" in said
            assert "The experiment ended on 15 January 2024" in said
        if "--new-key" in command:
            key = done.stdout.split()[-1]
    (request,) = _blocks("sh")
    answer = _asked(json.loads(re.search(r"-d '(.*)'", request)[1]), key=key)
    assert answer["customer_id"] == "c10000000"
    assert answer["decision_id"]


def _gives_the_reports_numbers(done: Any, *, truths: list[dict[str, Any]]) -> None:
    """The table's analysis is trusted, and its differences and intervals are those of the report."""
    assert done.exit_code == 0, done.stderr
    assert "Do not trust" not in done.stdout
    found = json.loads(Path("analysis.json").read_text(encoding="utf-8"))["metrics"]
    reported = {row["arm"]: (row["estimate"], row["ci_low"], row["ci_high"]) for row in truths}
    analyzed = {
        row["arm"]: (row["difference"], row["ci_low"], row["ci_high"]) for row in found if row["metric"] == "profit"
    }
    assert analyzed.keys() == reported.keys()
    for arm, numbers in reported.items():
        assert analyzed[arm] == pytest.approx(numbers), arm


def _asked(body: dict[str, str], *, key: str) -> dict[str, Any]:
    """The answer of a real service of the demo's project to the README's request."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [Path(sys.executable).with_name("rapport"), "serve", "--project", "rapport-demo", "--port", str(port)]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as service:
        try:
            transport = httpx.HTTPTransport(retries=8)  # with growing pauses, about half a minute in all
            with httpx.Client(base_url=f"http://127.0.0.1:{port}", transport=transport, timeout=30) as client:
                answered = client.post("/v1/decisions", json=body, headers={"Authorization": f"Bearer {key}"})
        finally:
            service.terminate()
    assert answered.status_code == 200, answered.text
    found: dict[str, Any] = answered.json()
    return found


def test_the_python_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.chdir(tmp_path)
    (code,) = _blocks("python")
    exec(compile(code, "README.md", "exec"), {})
    assert capsys.readouterr().out == "(400, 2)\n"


def test_every_link_and_target_is_there() -> None:
    for target in re.findall(r"\]\(([^)#]+)\)", README):
        assert (ROOT / target).exists(), target
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    for target in re.findall(r"(?:`|^)make ([a-z-]+)", README, flags=re.MULTILINE):
        assert re.search(rf"^{target}:", makefile, flags=re.MULTILINE), target
    for folder in re.findall(r"^\| `(\w+)/`", README, flags=re.MULTILINE):
        assert (ROOT / folder).is_dir()
