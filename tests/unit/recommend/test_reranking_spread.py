"""How unsure a score is: as wide as scores are spread when rows are drawn from the posterior."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

import tabcf
from tabcf.contracts.definitions import LossDefinition
from tabcf.contracts.options import NoOptions
from tabcf.data.batches import join, select
from tabcf.errors import RunError
from tabcf.losses import MSE
from tabcf.plugin.hooks import hookimpl
from tabcf.recommend.fold_in.fold_in import FoldIn
from tabcf.recommend.reranking.spread import score_spread
from tabcf.recommend.trained import ranking_value
from tabcf.testing import tiny_ratings

N_DRAWS = 3000
BASE: dict[str, Any] = {
    "tabcf": 1,
    "entities": {"user": {"id": "user_id"}, "item": {"id": "item_id"}},
    "split": {"random": {"valid": 0, "test": 0.3}},
    "train": {"epochs": 5, "batch_size": 64, "learning_rate": 0.03},
}
SPECS = {
    "ratings": {"target": {"column": "rating"}, "model": {"dot_product_bias": {"factors": 3}}},
    "ratings of a network": {
        "target": {"column": "rating"},
        "columns": {"weekday": {"date_part": {"from": "timestamp", "part": "weekday"}}},
        "model": {"embedding_nn": {"layers": [16], "widths": 4}},
    },
    "lists": {"target": {"implicit": {}}, "model": {"dot_product": {"factors": 3}}},
}


@pytest.mark.parametrize("kind", SPECS)
def test_the_spread_is_that_of_scores_of_drawn_rows(kind: str) -> None:
    run = tabcf.fit({**BASE, **SPECS[kind]}, tiny_ratings())
    trained, fold = run.trained, FoldIn(run.trained, "user")
    rows = np.array([3, 0, 3], dtype=np.int32)  # somebody known, twice, and somebody unknown
    tables = trained.encoder.tables
    sides = (
        select(tables["user"].inputs, torch.from_numpy(rows)),
        select(tables["item"].inputs, torch.arange(1, 21)),
        trained.encoder.events_with({}, rows),
    )
    columns = torch.tensor([[0, 5, 7], [0, 5, 7], [7, 5, -1]])
    found = score_spread(trained, fold, rows, sides, columns)
    assert found[0, 1] == pytest.approx(float(found[2, 1]))
    if "network" not in kind:  # whose slope is another at another row
        assert (found[0] < found[1]).all()
    learnt = trained.encoder.encode_ids(trained.events.learnable())["user"]
    assert (learnt == 3).sum() > 5
    # The same by drawing: rows of the known user, small steps in which any model is linear.
    covariance = _covariance(run)
    step = 0.005 if "network" in kind else 1.0
    factor = torch.linalg.cholesky(covariance)
    noise = torch.randn(N_DRAWS, len(factor), generator=torch.Generator().manual_seed(0))
    row = fold.trained_rows()[trained.encoder.entities["user"].index[3]]
    drawn = row + step * noise.double() @ factor.T
    pair = torch.zeros(N_DRAWS, dtype=torch.int64)
    for place, item in enumerate((0, 5, 7)):
        inputs = join(select(sides[0], pair), select(sides[1], pair + item), select(sides[2], pair))
        scores = ranking_value(fold.loss.decode(fold.responses(inputs).outputs(drawn)))
        assert float(scores.std()) / step == pytest.approx(float(found[0, place]), rel=0.06)


def _covariance(run: tabcf.Run) -> torch.Tensor:
    """Of the row of user 3, by the fold-in of that user's own events and nobody else's."""
    events = run.trained.events.learnable().frame
    user = run.trained.encoder.entities["user"].ids.values_of([3])[0]
    own = events[events["user_id"] == user]
    posterior = run.fold_in(own).posterior
    assert posterior is not None
    return posterior.covariance[0]


class _Steps(MSE):
    """A loss whose predictions jump from star to star."""

    def decode(self, raw: torch.Tensor) -> dict[str, torch.Tensor]:
        return {"value": super().decode(raw)["value"].detach().round()}


def test_predictions_that_jump_have_no_slope_and_go_by_events() -> None:
    stepped = LossDefinition(
        name="stepped",
        options=NoOptions,
        summary="Squared errors, whole stars.",
        targets=frozenset({"rating", "regression"}),
        build=lambda target, options: _Steps(target),
    )

    class Plugin:
        @hookimpl
        def tabcf_losses(self) -> list[LossDefinition]:
            return [stepped]

    spec = {**BASE, **SPECS["ratings"], "loss": "stepped"}
    run = tabcf.fit(spec, tiny_ratings(), plugins=[Plugin()])
    drawn = run.recommend([3, 4], k=5, rerank="thompson")
    by_events = run.recommend([3, 4], k=5, rerank={"thompson": {"spread": "events"}})
    pd.testing.assert_frame_equal(drawn, by_events)
    with pytest.raises(RunError, match="or predicts by jumps; use `spread: events`"):
        run.recommend([3], rerank={"thompson": {"spread": "posterior"}})
