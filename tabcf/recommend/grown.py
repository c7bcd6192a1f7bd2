"""The same model with further rows in its columns: what it learnt is copied, bit for bit."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import torch
from torch import Tensor, nn

from tabcf.contracts.layout import Layout
from tabcf.contracts.model import ColumnRows, SetRows
from tabcf.errors import RunError
from tabcf.recommend.trained import Trained

__all__ = ["enlarged_model", "grown_model"]

_Rows = list[tuple[nn.Parameter, slice]]


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
    layout = trained.encoder.layout
    if not isinstance(trained.model, ColumnRows) or trained.build is None:
        raise RunError(_without_rows(trained.model))
    columns = [
        replace(
            column,
            cardinality=(1 if position in emptied else column.cardinality) + n_new.get(position, 0),
            n_fitted=column.n_fitted or column.cardinality,
        )
        for position, column in enumerate(layout.categorical)
    ]
    return _copied(trained, replace(layout, categorical=tuple(columns)), emptied=emptied)


@torch.no_grad()
def enlarged_model(
    trained: Trained, layout: Layout, rows: Mapping[int, tuple[Tensor, Tensor]] | None = None
) -> nn.Module:
    """A copy of the model for a layout whose columns have more values than its own.

    A further value of a categorical column has the unknown value's row, so that it counts as what
    it counted before; one of a set column, the mean of the column's rows.

    Args:
        trained: Its model stays as it is.
        layout: The same columns, with as many values or more.
        rows: Rows of some values by the column's position: their indices `(n,)` and `(n, P)` the
            numbers, as `column_rows` lists them.

    Raises:
        RunError: A column has more values, and the model does not say which rows are a column's or
            holds something beside them that depends on how many there are.
    """
    model, old = trained.model, trained.encoder.layout
    if trained.build is None:
        raise RunError(_without_rows(model))
    built = _copied(trained, layout)
    for position, (own, now) in enumerate(zip(old.categorical, layout.categorical, strict=True)):
        if isinstance(built, ColumnRows) and now.cardinality > own.cardinality:
            for parameter, place in built.column_rows(position):
                parameter[place.start + own.cardinality : place.stop] = parameter[place.start]
    for position, (of_set, now_set) in enumerate(zip(old.sets, layout.sets, strict=True)):
        n = of_set.cardinality
        if isinstance(built, SetRows) and now_set.cardinality > n > 1:
            for parameter, place in built.set_rows(position):
                mean = parameter[place.start + 1 : place.start + n].mean(0)
                parameter[place.start + n : place.stop] = mean
    for position, (index, values) in (rows or {}).items():
        assert isinstance(built, ColumnRows)
        start = 0
        for parameter, place in built.column_rows(position):
            width = parameter[0].numel()
            own_values = values[:, start : start + width].to(parameter)
            at = index.to(parameter.device) + place.start
            parameter[at] = own_values.view(len(index), *parameter.shape[1:])
            start += width
    return built


@torch.no_grad()
def _copied(
    trained: Trained, layout: Layout, *, emptied: frozenset[int] = frozenset()
) -> nn.Module:
    """A model for a layout with all that the trained one has."""
    model, name = trained.model, type(trained.model).__name__
    assert trained.build is not None
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(trained.seed)
        built = trained.build(layout).to(trained.device)
    copied: list[Tensor] = []
    for position in range(len(layout.categorical)):
        if isinstance(model, ColumnRows) and isinstance(built, ColumnRows):
            own, new = model.column_rows(position), built.column_rows(position)
            copied += _copy_rows(own, new, only_first=position in emptied)
    for position in range(len(layout.sets)):
        if isinstance(model, SetRows) and isinstance(built, SetRows):
            copied += _copy_rows(model.set_rows(position), built.set_rows(position))
    state = model.state_dict(keep_vars=True)
    for key, value in built.state_dict(keep_vars=True).items():
        if any(value is other for other in copied):
            continue
        if value.shape != state[key].shape:
            if not isinstance(model, ColumnRows):
                raise RunError(_without_rows(model))
            raise RunError(
                f"{name} cannot take new users or items: its {key} depends on how many there are"
            )
        value.copy_(state[key])
    return built.eval()


def _copy_rows(own: _Rows, new: _Rows, *, only_first: bool = False) -> list[Tensor]:
    """Copy a column's rows; gives the parameters that have them."""
    for (old, rows), (parameter, place) in zip(own, new, strict=True):
        n = 1 if only_first else rows.stop - rows.start
        parameter[place.start : place.start + n] = old[rows.start : rows.start + n]
    return [parameter for parameter, _ in new]


def _without_rows(model: nn.Module) -> str:
    return (
        f"{type(model).__name__} cannot take new users or items: it does not say which rows are a "
        "column's (`column_rows`)"
    )
