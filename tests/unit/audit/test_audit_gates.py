"""Gates are read, never run; each that does not hold is a line."""

from __future__ import annotations

import pandas as pd
import pytest

from tabcf.audit.findings import Audit
from tabcf.audit.gates import failures, parse_gate
from tabcf.errors import DataError

NAN = float("nan")


def found(*, held: bool = True) -> Audit:
    """Three groups; nobody of the last has a list."""
    rows = []
    for group, values in {
        "item.genres=War": (1.5, 1.1, 1.9),
        "found: Sci-Fi, new (2)": (0.6, 0.9, 0.5),
        "user.job=none": (NAN, NAN, NAN),
    }.items():
        for users, value in zip(("all", "members", "others"), values, strict=True):
            row = {"group": group, "users": users, "amplification": value}
            rows.append({**row, **({"ndcg": value / 10, "recall": value / 20} if held else {})})
    frame = pd.DataFrame(rows)
    overall = {"gini": 0.9, "coverage": 0.25, "popularity_lift": 0.5}
    return Audit(10, overall | ({"ndcg": 0.3, "recall": 0.1} if held else {}), frame, frame)


@pytest.mark.parametrize(
    ("gate", "line"),
    [
        ("amplification(all) < 1.2", "amplification of item.genres=War is 1.5"),
        ("amplification(all) > 0.8", "amplification of found: Sci-Fi, new (2) is 0.6"),
        ("amplification(all, others)<1.8", "amplification of item.genres=War, others is 1.9"),
        ("amplification(found: Sci-Fi, new (2)) >= 0.7", "found: Sci-Fi, new (2) is 0.6"),
        ("ndcg(item.genres=War) > 0.12", "ndcg of item.genres=War, members is 0.11"),
        ("ndcg( item.genres=War , others ) > 0.2", "ndcg of item.genres=War, others is 0.19"),
        ("gini<0.8", "gini is 0.9"),
        ("coverage >= 3e-1", "coverage is 0.25"),
        ("amplification(user.job=none) < 9", "amplification of user.job=none is nan"),
    ],
)
def test_a_gate_that_does_not_hold_is_a_line(gate: str, line: str) -> None:
    (said,) = failures(found(), [parse_gate(gate)])
    assert said.startswith(f"gate failed: {gate}: ")
    assert line in said


def test_gates_that_hold_say_nothing() -> None:
    gates = ["amplification(all) <= 1.5", "gini < 1", "coverage > 0.2", "ndcg > 0.2"]
    gates += ["amplification(all, members) < 1.2", "ndcg(all) > 0.05", "recall(all, others) > 0"]
    assert failures(found(), map(parse_gate, gates)) == []
    assert len(failures(found(), map(parse_gate, ["gini < 0.5", "coverage > 0.5"]))) == 2


@pytest.mark.parametrize(
    ("gate", "said"),
    [
        ("gnii < 1", "no figure 'gnii'; did you mean 'gini'"),
        ("amplification < 1", r"expected a group, such as 'amplification\(all\)'"),
        ("gini(all) < 1", "expected no group, such as 'gini'"),
        ("gini < low", "expected a number, got 'low'"),
        ("gini", r"expected such as 'amplification\(all\) < 1.2'"),
        ("gini == 1", r"expected such as 'amplification\(all\) < 1.2'"),
        ("__import__('os').system('true') < 1", "expected such as|no figure"),
    ],
)
def test_a_wrong_gate_lists_the_names(gate: str, said: str) -> None:
    with pytest.raises(DataError, match=said) as error:
        parse_gate(gate)
    if "number" not in said:
        assert "figures: gini, coverage" in str(error.value)


def test_a_gate_about_what_was_not_looked_at_is_wrong() -> None:
    for gate, held, said in (
        ("amplification(item.genre=War) < 1", True, "did you mean 'item.genres=War'"),
        ("ndcg > 0.1", False, "there is no ndcg; the audit has no held rows"),
        ("rmse < 1", True, "there is no rmse; the audit predicts no numbers"),
    ):
        with pytest.raises(DataError, match=said):
            failures(found(held=held), [parse_gate(gate)])
    nothing = Audit(10, {"gini": 0.1}, pd.DataFrame(), pd.DataFrame())
    with pytest.raises(DataError, match="no group was looked at"):
        failures(nothing, [parse_gate("amplification(all) < 1")])
