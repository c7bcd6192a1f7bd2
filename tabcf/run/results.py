"""What came of a fit: metrics, baselines, history; plain data that a run folder keeps."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from tabcf.training.loop import EpochReport

__all__ = ["FitReport"]


@dataclass(frozen=True, slots=True)
class FitReport:
    """Figures of one fit.

    Attributes:
        fitted_on: Which rows the weights come from: `train`, or `train + valid` after a refit.
        n_rows: Rows of each part that were learnt from or measured on.
        valid: Metrics on the validation part, always of the fit on `train` alone.
        test: Metrics on the test part, of the weights that the run holds.
        first_stage: Test metrics of the lists of the first of two stages alone, with `recall@n`:
            the share of the relevant items that it finds. Empty without one.
        baselines: The same test metrics of simple models fitted on the same rows.
        groups: Test metrics of the rows of each group as `evaluate_groups` gives them: `group`
            (`warm`, `cold user`, `cold item`, `cold both`), counts and metrics. Empty without users
            and items.
        told: Where the split gives some events of those who test: test metrics of new users, and of
            new items, before and after these events are folded in.
        epochs: One report an epoch.
        best_epoch: The epoch whose weights were kept.
        n_steps: Steps an epoch; 0 for a model that was solved.
        is_interrupted: Whether training ended by Ctrl-C.
        warnings: What the split doctor found.
        seconds: Wall time of encoding and training.
        cpu_seconds: CPU time of the same, over all threads.
        test_rows: Says which test rows they were, by their ids; two runs with the same are
            comparable. Empty without users.
        warm_up_seconds: Wall time of the first step where that compiles, else 0.
    """

    fitted_on: str
    n_rows: Mapping[str, int]
    valid: Mapping[str, float]
    test: Mapping[str, float]
    first_stage: Mapping[str, float] = field(default_factory=dict)
    baselines: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    groups: tuple[Mapping[str, Any], ...] = ()
    told: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    epochs: tuple[EpochReport, ...] = ()
    best_epoch: int = 0
    n_steps: int = 0
    is_interrupted: bool = False
    warnings: tuple[str, ...] = ()
    seconds: float = 0.0
    cpu_seconds: float = 0.0
    test_rows: str = ""
    warm_up_seconds: float = 0.0

    def to_json(self) -> dict[str, Any]:
        """Plain data that `from_json` takes."""
        return asdict(self)

    @classmethod
    def from_json(cls, state: dict[str, Any]) -> FitReport:
        """The report that `to_json` described."""
        epochs = tuple(EpochReport(**epoch) for epoch in state["epochs"])
        fields = {
            **state,
            "epochs": epochs,
            "groups": tuple(state.get("groups", ())),
            "warnings": tuple(state["warnings"]),
        }
        return cls(**fields)
