"""Whether predictions mean what they say: predicted against actual, overall and by popularity."""

from __future__ import annotations

import numpy as np
import pandas as pd

from tabcf.contracts.table import Table
from tabcf.errors import RunError
from tabcf.recommend.predictor import decode_table, true_values
from tabcf.recommend.trained import Trained

__all__ = ["calibration"]

_BANDS = ("few events", "some events", "many events")


def calibration(trained: Trained, table: Table, *, n_bins: int = 10) -> pd.DataFrame:
    """Mean prediction and mean truth of rows with like predictions.

    Rows are cut into bins of equally many by their prediction, once all together and once within
    each band of users and of items by training events: those without any, and thirds of the others
    (each third of the rows, so that `few events` are the third of rows whose user has fewest).

    Args:
        trained: A model that predicts a number or a yes or no.
        table: Encoded rows with their target, held out.
        n_bins: Bins; fewer where predictions are equal.

    Returns:
        `by` (`all`, `user` or `item`), `band`, `bin` from 1, `n`, `predicted`, `actual`,
        `difference` (predicted less actual) and `se`, the standard error of `actual`.

    Raises:
        RunError: The model predicts no single number.
    """
    if trained.target.kind not in ("rating", "regression", "binary") or table.target is None:
        raise RunError("calibration compares predicted with actual numbers; this run predicts none")
    if table.target.ndim > 1:
        raise RunError("calibration is of one target column; this run has several")
    decoded = decode_table(trained, table)
    predicted = decoded.get("value", decoded.get("probability"))
    if predicted is None:
        raise RunError("calibration needs a loss that predicts a value or a probability")
    frame = pd.DataFrame(
        {
            "predicted": predicted.double().numpy(),
            "actual": true_values(trained, table.target).double().numpy(),
        }
    )
    found = [_bins(frame, n_bins).assign(by="all", band="all")]
    for entity in ("user", "item"):
        if entity not in table.rows:
            continue
        counts = trained.encoder.entities[entity].n_events[table.rows[entity].numpy()]
        band = _bands(counts)
        for name in ("no events", *_BANDS):
            own = frame[band == name]
            if len(own):
                found.append(_bins(own, n_bins).assign(by=entity, band=name))
    columns = ["by", "band", "bin", "n", "predicted", "actual", "difference", "se"]
    return pd.concat(found, ignore_index=True)[columns]


def _bins(frame: pd.DataFrame, n_bins: int) -> pd.DataFrame:
    edges = np.unique(np.quantile(frame["predicted"], np.linspace(0, 1, n_bins + 1)[1:-1]))
    grouped = frame.groupby(np.searchsorted(edges, frame["predicted"], side="right"))
    found = grouped.mean()
    found["n"] = grouped.size()
    found["difference"] = found["predicted"] - found["actual"]
    found["se"] = grouped["actual"].std(ddof=1) / np.sqrt(found["n"])
    found["bin"] = np.arange(1, len(found) + 1)
    return found.reset_index(drop=True)


def _bands(counts: np.ndarray) -> np.ndarray:
    """`(N,)`: each row's band by the training events of its user or item."""
    band = np.full(len(counts), "no events", dtype=object)
    is_trained = counts > 0
    if is_trained.any():
        cuts = np.quantile(counts[is_trained], [1 / 3, 2 / 3])
        place = np.searchsorted(cuts, counts[is_trained], side="left")
        band[is_trained] = np.array(_BANDS, dtype=object)[place]
    return band
