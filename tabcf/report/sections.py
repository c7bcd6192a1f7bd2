"""What a report says of a run, section by section."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd

from tabcf.audit.result import LoopResult
from tabcf.contracts.model import AdditiveScorer, ColumnBiases, ColumnVectors
from tabcf.errors import TabcfError
from tabcf.evaluation.compare import bootstrap_interval, shared_metrics
from tabcf.evaluation.groups import has_cold_rows
from tabcf.inspection import plots
from tabcf.report.auditing import audit_blocks, loop_blocks
from tabcf.report.blocks import Block, Chart, Code, Note, Section, Table
from tabcf.report.charts import bars, drawn, lines
from tabcf.run.run import Run

__all__ = ["sections_of"]

# Rows that a table shows of a long one.
_SHOWN = 15


def sections_of(
    run: Run, data: Any = None, *, simulation: LoopResult | None = None
) -> list[Section]:
    """All sections that make sense for a run.

    Args:
        run: What to tell of.
        data: Held rows with the target, for calibration and accuracy; a frame or a path.
        simulation: What came of a simulated feedback loop.
    """
    parts: list[tuple[str, str, Callable[[Run, Any], list[Block]]]] = [
        ("model", "Model", _model),
        ("data", "Data", _data),
        ("results", "Results", _results),
        ("training", "Training", _training),
        ("biases", "Biases", _biases),
        ("factors", "What the vectors mean", _factors),
        ("crosstab", "Users and items", _crosstab),
        ("why", "Why a recommendation", _why),
        ("calibration", "Calibration", _calibration),
        ("audit", "Lists, popularity and groups", audit_blocks),
        ("loop", "In a feedback loop", lambda *_: loop_blocks(simulation) if simulation else []),
        ("spec", "Spec and versions", _spec),
    ]
    sections = []
    for id, title, build in parts:
        blocks = build(run, data)
        if blocks:
            sections.append(Section(id, title, tuple(blocks)))
    return sections


def _model(run: Run, data: Any) -> list[Block]:
    trained, summary = run.trained, run.summary()
    target = trained.target
    what = {
        "rating": f"ratings: {', '.join(target.columns)}",
        "regression": f"numbers: {', '.join(target.columns)}",
        "binary": f"yes or no: {', '.join(target.columns)}",
        "classes": f"one of several classes: {', '.join(target.columns)}",
        "implicit": "which items a user will choose",
    }[target.kind]
    warm_up = ""
    if run.report.warm_up_seconds:
        warm_up = f"; the first step, which compiled, took {run.report.warm_up_seconds:.1f} seconds"
    blocks: list[Block] = [
        Note(
            f"{run.spec.model.name} predicts {what}. It has {summary.n_parameters:,} trained "
            f"numbers, was fitted on {run.report.fitted_on} with seed {run.spec.seed}, in "
            f"{run.report.cpu_seconds:.1f} seconds of CPU time{warm_up}."
        )
    ]
    if run.advice is not None:
        blocks.append(Note(run.advice, "warning"))
    if trained.encoder.entities:
        names = " and ".join(trained.encoder.entities)
        blocks.append(
            Note(
                f"Ids that were in no training event are answered from the average or from "
                f"attributes, and every answer says so (`basis`); with a few events of their own, "
                f"new ones of {names} can be folded in without training anew. Lists repeat what "
                "the data were like: who acts much is heard most."
            )
        )
    blocks.append(Table(summary.frame, "Layers", {"parameters": ",d", "share": ".1%"}))
    return blocks


def _data(run: Run, data: Any) -> list[Block]:
    trained, report = run.trained, run.report
    parts = pd.DataFrame({"part": list(report.n_rows), "rows": list(report.n_rows.values())})
    blocks: list[Block] = [Table(parts, "Rows that count, by part", {"rows": ",d"})]
    blocks += [Note(text, "warning") for text in report.warnings]
    if trained.past is None:
        return blocks
    entities = trained.encoder.entities
    n_events = int(entities["user"].n_events.sum())
    rows = [
        {
            "entity": name,
            "known": len(entity) - 1,
            "in training": int((entity.n_events > 0).sum()),
            "fewest events": int(entity.n_events[entity.row_of_index[1:]].min(initial=n_events)),
            "median": float(np.median(entity.n_events[entity.row_of_index[1:]])),
            "most events": int(entity.n_events.max()),
        }
        for name, entity in entities.items()
    ]
    formats = dict.fromkeys(("known", "in training", "fewest events", "most events"), ",d")
    blocks.append(Table(pd.DataFrame(rows), "Who and what is in it", formats | {"median": ",.0f"}))
    size = int((entities["user"].n_events > 0).sum()) * int((entities["item"].n_events > 0).sum())
    blocks.append(
        Note(f"{n_events:,} training events fill {n_events / max(size, 1):.2%} of users × items.")
    )
    popularity = {}
    for name in ("user", "item"):
        counts = np.sort(entities[name].n_events[entities[name].row_of_index[1:]])[::-1]
        popularity[name] = pd.Series(counts, index=np.arange(1, len(counts) + 1))
    frame = pd.DataFrame(popularity).rename(columns={"user": "users", "item": "items"})
    blocks.append(
        lines(
            frame,
            "Events of each user and item, the busiest first, on logarithmic axes",
            x="rank",
            y="training events",
            is_log=True,
        )
    )
    target = trained.target
    if target.kind == "rating":
        events = trained.events.learnable().frame[target.columns[0]].value_counts().sort_index()
        blocks.append(bars(events, "Training ratings", x=target.columns[0], y="events"))
    return blocks


def _results(run: Run, data: Any) -> list[Block]:
    report = run.report
    blocks: list[Block] = []
    if report.test:
        rows = run.test_table
        frame = pd.DataFrame.from_dict(rows, orient="index").rename_axis("model").reset_index()
        caption = "Test rows; baselines were fitted on the same training rows"
        blocks.append(Table(frame, caption, dict.fromkeys(frame.columns[1:], ".4f")))
    if has_cold_rows(run.test_groups):
        caption = "Test rows, by whether user and item had training events"
        formats = {name: ",d" for name in ("n_rows", "n_lists") if name in run.test_groups}
        blocks.append(Table(run.test_groups, caption, formats))
    if run.users is not None and len(run.users):
        found = []
        for name in shared_metrics([run.users]):
            values = run.users[name].dropna().to_numpy(dtype=float)
            low, high = bootstrap_interval(values)
            found.append(
                {
                    "metric": name,
                    "users": len(values),
                    "mean": values.mean() if len(values) else np.nan,
                    "low": low,
                    "high": high,
                }
            )
        intervals = pd.DataFrame(found, columns=["metric", "users", "mean", "low", "high"])
        caption = (
            "Means over users, each counting the same, and where the mean of other users of their "
            "kind would be, 95 times of 100 (bootstrap)"
        )
        formats = {"users": ",d", "mean": ".4f", "low": ".4f", "high": ".4f"}
        blocks.append(Table(intervals, caption, formats))
    if data is not None and {"user", "item"} <= set(run.trained.encoder.entities):
        groups = run.evaluate_groups(data)
        blocks.append(Table(groups, "Given rows, by whether user and item had training events"))
    return blocks


def _training(run: Run, data: Any) -> list[Block]:
    look = run.inspection
    if not run.report.epochs:
        return [Note(f"{run.spec.model.name} is solved in closed form; there are no epochs.")]
    epochs = look.epochs()
    schedule = look.schedule().set_index("progress")[["learning_rate"]]
    return [
        drawn(plots.plot_training, epochs, "Training loss and validation metrics by epoch"),
        lines(schedule, "Learning rate over the training", x="progress", y="learning rate"),
        Table(epochs, "Epochs", {"learning_rate": ".3g", "seconds": ".2f"}),
        Table(
            look.weights().dropna(axis=1, how="all"),
            "Size of each column's rows (root mean square); `kept` is what weight decay alone "
            "would have left",
            {"n": ",d", "width": "d", "kept": ".1%"},
        ),
    ]


def _biases(run: Run, data: Any) -> list[Block]:
    if not isinstance(run.trained.model, ColumnBiases) or run.trained.past is None:
        return []
    biases = run.biases("item").reset_index()
    formats = {"bias": "+.3f", "mean": ".2f", "count": ",d"}
    blocks: list[Block] = [
        Table(biases.head(_SHOWN), "Highest biases: liked beyond what their raters like", formats),
        Table(biases.tail(_SHOWN).iloc[::-1], "Lowest biases", formats),
    ]
    if not isinstance(run.trained.model, AdditiveScorer) or run.trained.target.kind != "rating":
        return blocks
    gaps = run.inspection.bias_gaps("item")
    if len(gaps) > 1:
        text = "Rank by bias against rank by mean, for items with 20 training events or more"
        blocks.append(drawn(plots.plot_bias_gaps, gaps, text))
        shown = gaps.head(_SHOWN).reset_index()
        blocks.append(
            Table(
                shown,
                "Where bias and mean disagree most, and why",
                formats | {"raters": "+.3f", "fit": "+.3f"},
            )
        )
    return blocks


def _factors(run: Run, data: Any) -> list[Block]:
    if not isinstance(run.trained.model, ColumnVectors) or run.trained.past is None:
        return []
    look = run.inspection
    try:
        factors, places = look.factors("item"), look.map("item")
    except TabcfError as error:
        return [Note(str(error))]
    ends = factors.ends
    name = ends.columns[4] if ends.columns[4] != "score" else ends.columns[3]
    rows = []
    for axis, share in factors.share.itertuples(index=False):
        own = ends[ends["axis"] == axis]
        along = factors.correlations[factors.correlations["axis"] == axis].head(3)
        rows.append(
            {
                "axis": axis,
                "variance": share,
                "high": ", ".join(map(str, own.loc[own["end"] == "high", name].head(5))),
                "low": ", ".join(map(str, own.loc[own["end"] == "low", name].head(5))),
                "goes with": ", ".join(
                    f"{attribute} {r:+.2f}"
                    for attribute, r in zip(along["attribute"], along["r"], strict=True)
                ),
            }
        )
    caption = "Directions in which items differ most, who is at their ends, what goes along"
    return [
        Table(pd.DataFrame(rows), caption, {"variance": ".1%"}),
        drawn(plots.plot_map, places, "Items on the plane of the two strongest directions"),
        drawn(
            plots.plot_norms,
            look.norms("item"),
            "Lengths of items' vectors: those with few events stay short, and say little",
        ),
    ]


def _crosstab(run: Run, data: Any) -> list[Block]:
    if run.trained.past is None or run.trained.target.kind == "classes":
        return []
    try:
        table = run.inspection.crosstab(12, 10)
    except TabcfError as error:
        return [Note(str(error))]
    text = "The busiest users and items: framed cells are known, the others predicted"
    return [drawn(plots.plot_crosstab, table, text)]


def _why(run: Run, data: Any) -> list[Block]:
    if run.trained.past is None:
        return []
    entity = run.trained.encoder.entities["user"]
    counts = entity.n_events[1:]
    # A user like many: the one whose number of events is nearest to the median.
    typical = int(np.argmin(np.abs(counts - np.median(counts[counts > 0])))) + 1
    user = entity.ids.values_of([typical])[0]
    try:
        lists = run.recommend(user, k=10)
    except TabcfError as error:
        return [Note(str(error))]
    item_id = run.trained.encoder.entities["item"].plan.id
    why = run.inspection.why(user, lists[item_id].iloc[0])
    blocks: list[Block] = [
        Note(
            f"The list of {entity.plan.id} {user}, a user with a usual number of events, and what "
            "the first score is made of."
        ),
        Table(lists, "Recommended", {"score": ".3f"}),
        Table(
            why.terms.head(_SHOWN),
            f"Parts of the first score ({why.unit})",
            {"value": "+.4f"},
        ),
    ]
    if len(why.past):
        pushing = why.past
        if len(pushing) > _SHOWN:
            pushing = pd.concat([pushing.head(10), pushing.tail(5)])
        blocks.append(Table(pushing, "Past items that push it up, and down", {"push": "+.4f"}))
    return blocks


def _calibration(run: Run, data: Any) -> list[Block]:
    if data is None or run.trained.target.kind not in ("rating", "regression", "binary"):
        return []
    try:
        table = run.inspection.calibration(data)
    except TabcfError as error:
        return [Note(str(error))]
    chart: Chart = drawn(
        plots.plot_calibration,
        table,
        "Actual against predicted on the given rows, for all and by training events",
    )
    whole = table[table["by"] == "all"].drop(columns=["by", "band"])
    formats = {"bin": "d", "n": ",d", "difference": "+.4f"}
    return [chart, Table(whole, "Ten bins of equally many rows", formats)]


def _spec(run: Run, data: Any) -> list[Block]:
    import yaml

    from tabcf.run.folder import environment

    text = yaml.safe_dump(run.spec.model_dump(mode="json"), sort_keys=False, allow_unicode=True)
    versions = json.dumps(environment(), indent=1)
    return [Code("The spec with all its values", text), Code("Versions", versions)]
