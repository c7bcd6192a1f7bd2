"""Conditions that an audit has to fulfil, such as `amplification(all) < 1.2`; parsed, never run."""

from __future__ import annotations

import difflib
import operator
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from tabcf.audit.findings import Audit
from tabcf.errors import DataError

__all__ = ["Gate", "failures", "parse_gate"]

_SIGNS: dict[str, Callable[[float, float], bool]] = {
    "<=": operator.le,
    ">=": operator.ge,
    "<": operator.lt,
    ">": operator.gt,
}
_GATE = re.compile(
    r"\s*(?P<figure>\w+)\s*(?:\((?P<group>.*)\))?\s*(?P<sign><=|>=|<|>)\s*(?P<bound>\S+)\s*"
)
_USERS = ("all", "members", "others")
_OF_GROUPS = ("amplification", "share_recommended", "ndcg", "recall", "rmse")
_OVERALL = (
    *("gini", "coverage", "popularity", "popularity_lift", "tail"),
    *("ndcg", "recall", "rmse"),
)
_NEEDS_ROWS = ("ndcg", "recall", "rmse")


@dataclass(frozen=True, slots=True)
class Gate:
    """A figure, over all or of a group and some users, against a bound."""

    text: str
    figure: str
    group: str | None
    users: str
    sign: str
    bound: float

    def holds(self, value: float) -> bool:
        """Whether a value is within the bound; one that is not known is not."""
        return _SIGNS[self.sign](value, self.bound)


def parse_gate(text: str) -> Gate:
    """Read a gate: a figure, in brackets a group and perhaps whose lists, a sign and a number.

    A group's lists are by default those of all users for `amplification` and `share_recommended`,
    and those of its members for `ndcg`, `recall` and `rmse`; `members` or `others` behind a comma
    says otherwise. For the group `all` the gate has to hold for every group: with `<` for the
    largest.

    Raises:
        DataError: It is none, or there is no such figure; lists what there is.

    Example:
        >>> gate = parse_gate("amplification(item.genres=War, others) < 1.2")
        >>> gate.figure, gate.group, gate.users, gate.sign, gate.bound
        ('amplification', 'item.genres=War', 'others', '<', 1.2)
    """
    match = _GATE.fullmatch(text)
    if match is None:
        raise DataError(
            f"gate {text!r}: expected such as 'amplification(all) < 1.2' or 'gini < 0.9'; "
            f"{_known()}"
        )
    figure, group = match["figure"], match["group"]
    known = _OVERALL if group is None else _OF_GROUPS
    if figure not in known:
        if figure in (*_OVERALL, *_OF_GROUPS):
            wanted = "expected a group" if group is None else "expected no group"
            example = f"{figure}(all)" if group is None else figure
            raise DataError(f"gate {text!r}: {wanted}, such as {example!r}; {_known()}")
        near = difflib.get_close_matches(figure, (*_OVERALL, *_OF_GROUPS), n=1)
        hint = f"; did you mean '{near[0]}'?" if near else ";"
        raise DataError(f"gate {text!r}: no figure '{figure}'{hint} {_known()}")
    try:
        bound = float(match["bound"])
    except ValueError:
        raise DataError(f"gate {text!r}: expected a number, got {match['bound']!r}") from None
    if group is None:
        return Gate(text.strip(), figure, None, "all", match["sign"], bound)
    users = "members" if figure in _NEEDS_ROWS else "all"
    name, comma, last = group.rpartition(",")
    if comma and last.strip() in _USERS:
        group, users = name, last.strip()
    return Gate(text.strip(), figure, group.strip(), users, match["sign"], bound)


def failures(found: Audit, gates: Iterable[Gate]) -> list[str]:
    """A line for each gate that does not hold.

    Raises:
        DataError: A gate names a group that was not looked at, or a figure that needs held rows
            where there were none.
    """
    lines = []
    for gate in gates:
        where, value = _value(found, gate)
        if not gate.holds(value):
            of = f" of {where}" if where else ""
            lines.append(f"gate failed: {gate.text}: {gate.figure}{of} is {value:.4g}")
    return lines


def _value(found: Audit, gate: Gate) -> tuple[str, float]:
    """What a gate is about: the group, if there is one, and the figure."""
    if gate.figure in _NEEDS_ROWS and gate.figure not in found.overall:
        why = "predicts no numbers" if "ndcg" in found.overall else "has no held rows"
        raise DataError(f"gate {gate.text!r}: there is no {gate.figure}; the audit {why}")
    if gate.group is None:
        return "", float(found.overall[gate.figure])
    names = list(dict.fromkeys(found.groups["group"])) if len(found.groups) else []
    if not names:
        raise DataError(f"gate {gate.text!r}: no group was looked at")
    own = found.groups[found.groups["users"] == gate.users].set_index("group")[gate.figure]
    if gate.group != "all":
        if gate.group not in names:
            near = difflib.get_close_matches(gate.group, names, n=1)
            hint = f"; did you mean '{near[0]}'?" if near else ";"
            raise DataError(
                f"gate {gate.text!r}: no group '{gate.group}'{hint} groups: all, "
                f"{', '.join(map(str, names))}"
            )
        return _named(gate, gate.group), float(own[gate.group])
    known = own.dropna()
    if not len(known):
        return "all", float("nan")
    worst = str(known.idxmax() if gate.sign.startswith("<") else known.idxmin())
    return _named(gate, worst), float(known[worst])


def _named(gate: Gate, group: str) -> str:
    return group if gate.users == "all" else f"{group}, {gate.users}"


def _known() -> str:
    return (
        f"figures: {', '.join(_OVERALL)}; of a GROUP or all: "
        f"{', '.join(f'{name}(GROUP)' for name in _OF_GROUPS)}"
    )
