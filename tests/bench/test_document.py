"""What becomes of a run: a ratio that neighbours do not bend, a verdict, and a page that keeps what people wrote."""

import json
from pathlib import Path

import pytest

from bench import document
from bench.figures import FIGURES, Figure
from bench.measure import KEYS, report


def said(capsys: pytest.CaptureFixture[str]) -> dict[str, object]:
    (text,) = capsys.readouterr().out.splitlines()
    line: dict[str, object] = json.loads(text)
    return line


def runs(*values: float) -> list[dict[str, float]]:
    return [{"value": value} for value in values]


def test_the_ratio_is_the_median_of_the_rounds_own_ratios(capsys: pytest.CaptureFixture[str]) -> None:
    """In the second round a neighbour halved both sides: the ratio of medians would be 0.7, and no round had that."""
    report("x", "commands/s", runs(800, 350, 700), runs(1000, 500, 1400), orders=7)
    assert said(capsys) == {
        "bench": "x",
        "ours": 700,
        "peer": 1000,
        "ratio": 0.7,
        "unit": "commands/s",
        "spread_ours": [350, 800],
        "spread_peer": [500, 1400],
        "spread_ratio": [0.5, 0.8],
        "better": "more",
        "rounds": 3,
        "orders": 7,
    }


def test_without_a_peer_there_is_no_ratio(capsys: pytest.CaptureFixture[str]) -> None:
    report("x", "s", runs(1.25, 1.5, 1.0), [], more_is_better=False)
    line = said(capsys)
    assert tuple(line) == KEYS
    assert [name for name in KEYS if line[name] is None] == ["peer", "ratio", "spread_peer", "spread_ratio"]
    assert (line["ours"], line["spread_ours"], line["better"]) == (1.25, [1.0, 1.5], "less")


@pytest.mark.parametrize(
    ("figure", "line", "reached"),
    [
        (Figure("x", "", "", at_least=0.8), {"ratio": 0.8}, True),
        (Figure("x", "", "", at_least=0.8), {"ratio": 0.799}, False),
        (Figure("x", "", "", at_most=2.5), {"ratio": 2.5}, True),
        (Figure("x", "", "", at_most=2.5), {"ratio": 2.501}, False),
        (Figure("x", "", "", by="ours", at_most=400), {"ours": 346, "ratio": None}, True),
        (Figure("x", "", "", by="ours", at_most=400), {"ours": 401, "ratio": None}, False),
    ],
)
def test_a_target_is_reached_at_its_bound(figure: Figure, line: dict[str, float], reached: bool) -> None:
    assert figure.reached(line) is reached


def test_every_figure_is_a_module_and_has_one_bound() -> None:
    from importlib.util import find_spec

    assert len({figure.key for figure in FIGURES}) == len(FIGURES) == 18
    for figure in FIGURES:
        assert find_spec(f"bench.{figure.name}") is not None
        assert (figure.at_least is None) != (figure.at_most is None)


def test_the_page_shows_what_was_reached_what_was_missed_and_what_failed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A note on a miss stands there only where the target was missed; the rest of the notes always does."""
    notes = tmp_path / "notes.toml"
    notes.write_text('[engine]\nalways = "Titles move."\nmissed = "It lost."\n[memory]\nmissed = "Too fat."\n')
    monkeypatch.setattr(document, "NOTES", notes)
    line = dict.fromkeys(KEYS) | {"unit": "commands/s", "ours": 250_000, "peer": 500_000, "ratio": 0.5}
    small = dict.fromkeys(KEYS) | {"unit": "bytes per resting order", "ours": 346, "spread_ours": [340, 350]}
    lines = {figure.key: "not built" if figure.compiled else "failed" for figure in FIGURES}
    lines |= {"engine": line | {"spread_ratio": [0.45, 0.55]}, "memory": small}
    page = document.write(lines, 300, 1.25)
    rows = [row for row in page.splitlines() if row.startswith("| ")][2:]
    verdicts = [row.removesuffix(" |").rpartition("| ")[2] for row in rows]
    assert verdicts == [
        "**missed**",
        "no figure: not built",
        *["no figure: failed", "no figure: not built"] * 2,
        *["no figure: failed"] * 8,
        "no figure: not built",
        *["no figure: failed"] * 2,
        "reached",
    ]
    assert rows[0].endswith(
        "| ratio ≥ 0.8 (aim 1.2) | 250,000 | 500,000 | commands/s | 0.5 | 0.45 – 0.55 | **missed** |"
    )
    assert rows[-1].endswith("| ours ≤ 400 | 346 | – | bytes per resting order | – | 340 – 350 | reached |")
    assert "Titles move.\nIt lost." in page
    assert "Too fat." not in page
    assert ", 5 minutes, " in page
    assert "; load of the minute before: 1.2" in page, "who reads a ratio wants to know who else was there"


def test_the_notes_are_about_figures() -> None:
    import tomllib

    notes = tomllib.loads(document.NOTES.read_text())
    assert set(notes) <= {figure.name for figure in FIGURES}
    assert all(set(note) <= {"always", "missed"} for note in notes.values())
