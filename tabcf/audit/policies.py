"""Ways to serve lists side by side: what each costs in accuracy, and what it does to groups."""

from __future__ import annotations

from collections.abc import Mapping

import pandas as pd

from tabcf.audit.findings import Audit

__all__ = ["compare_policies"]

_OVERALL = ("gini", "coverage", "popularity_lift", "tail")


def compare_policies(audits: Mapping[str, Audit]) -> pd.DataFrame:
    """One row a policy.

    Returns:
        `policy`; of held rows `ndcg` and `recall`; `amplification`, the largest of any group over
        all users, `group`, which that is, and `others`, the largest for everyone but a group's
        members; `gini`, `coverage`, `popularity_lift` and `tail`.
    """
    rows = []
    for name, found in audits.items():
        row: dict[str, object] = {"policy": name}
        row |= {key: found.overall[key] for key in ("ndcg", "recall") if key in found.overall}
        if len(found.groups):
            first = found.amplified().iloc[0]
            others = found.amplified(users="others").iloc[0]
            row["amplification"], row["group"] = first["amplification"], first["group"]
            row["others"] = others["amplification"]
        rows.append(row | {key: found.overall[key] for key in _OVERALL})
    return pd.DataFrame(rows)
