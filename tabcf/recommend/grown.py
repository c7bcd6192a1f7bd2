"""The same model with further rows for one entity: what it learnt is copied, bit for bit."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor, nn

from tabcf.contracts.model import ColumnRows
from tabcf.errors import RunError
from tabcf.recommend.trained import Trained

__all__ = ["grown_model"]


@torch.no_grad()
def grown_model(
    trained: Trained, n_new: dict[int, int], *, emptied: frozenset[int] = frozenset()
) -> nn.Module:
    """A copy of the model whose categorical columns have further rows behind their own.

    The further rows are as an untrained model has them. In evaluation mode, on the same device.

    Args:
        trained: Its model stays as it is.
        n_new: Number of further rows by the column's position.
        emptied: Columns that keep the unknown value's row alone, in front of the further ones.

    Raises:
        RunError: The model does not say which rows belong to which column, or holds something
            beside them that depends on how many there are.
    """
    model, layout = trained.model, trained.encoder.layout
    name = type(model).__name__
    if not isinstance(model, ColumnRows) or trained.build is None:
        raise RunError(
            f"{name} cannot take new users or items: it does not say which rows are a column's "
            "(`column_rows`)"
        )
    columns = [
        replace(
            column,
            cardinality=(1 if position in emptied else column.cardinality) + n_new.get(position, 0),
            n_fitted=column.n_fitted or column.cardinality,
        )
        for position, column in enumerate(layout.categorical)
    ]
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(trained.seed)
        built = trained.build(replace(layout, categorical=tuple(columns))).to(trained.device)
    assert isinstance(built, ColumnRows)
    copied: list[Tensor] = []
    for position in range(len(columns)):
        pairs = zip(model.column_rows(position), built.column_rows(position), strict=True)
        for (own, rows), (new, new_rows) in pairs:
            n = 1 if position in emptied else rows.stop - rows.start
            new[new_rows.start : new_rows.start + n] = own[rows.start : rows.start + n]
            copied.append(new)
    state = model.state_dict(keep_vars=True)
    for key, value in built.state_dict(keep_vars=True).items():
        if any(value is other for other in copied):
            continue
        if value.shape != state[key].shape:
            raise RunError(
                f"{name} cannot take new users or items: its {key} depends on how many there are"
            )
        value.copy_(state[key])
    return built.eval()
