"""Look-ups of columns and sets beside their definitions, whatever the widths and the index type."""

from __future__ import annotations

from itertools import pairwise

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

from tabcf.contracts.inputs import Bag
from tabcf.errors import DataError
from tabcf.nn import ColumnEmbeddings, DotProductBias, SetEmbeddings, TabularModel

WIDTHS = st.lists(st.integers(1, 3), min_size=1, max_size=5)


def indices(cardinalities: list[int], n_rows: int) -> Tensor:
    rng = torch.Generator().manual_seed(n_rows)
    columns = [torch.randint(0, n, (n_rows,), generator=rng) for n in cardinalities]
    return torch.stack(columns, 1)


@given(widths=WIDTHS, n_rows=st.integers(0, 4), dtype=st.sampled_from([torch.int32, torch.int64]))
def test_columns_of_any_widths_are_one_hot_rows_times_their_matrices(
    widths: list[int], n_rows: int, dtype: torch.dtype
) -> None:
    cardinalities = [2 + c for c in range(len(widths))]
    embeddings = ColumnEmbeddings(cardinalities, widths)
    x_cat = indices(cardinalities, n_rows).to(dtype)
    expected = [
        nn.functional.one_hot(x_cat[:, c].long(), n).float() @ embeddings.column_weight(c)
        for c, n in enumerate(cardinalities)
    ]
    torch.testing.assert_close(embeddings(x_cat), torch.cat(expected, 1))


@given(widths=WIDTHS, data=st.data())
def test_some_columns_are_the_same_as_among_all(widths: list[int], data: st.DataObject) -> None:
    cardinalities = [2 + c for c in range(len(widths))]
    embeddings = ColumnEmbeddings(cardinalities, widths)
    chosen = data.draw(st.lists(st.integers(0, len(widths) - 1), unique=True))
    x_cat = indices(cardinalities, 3).int()
    parts = embeddings(x_cat).split(widths, 1)
    expected = torch.cat([torch.zeros(3, 0), *(parts[c] for c in chosen)], 1)
    assert torch.equal(embeddings.select(x_cat[:, chosen], chosen), expected)


def test_equal_widths_share_a_table_and_a_step_moves_only_the_rows_looked_up() -> None:
    embeddings = ColumnEmbeddings([3, 4, 5], [2, 6, 2])
    assert [tuple(t.shape) for t in embeddings.tables] == [(8, 2), (4, 6)]
    embeddings(torch.tensor([[1, 0, 4], [1, 3, 0]])).sum().backward()
    shared, own = (table.grad for table in embeddings.tables)
    assert shared.sum(1).tolist() == [0, 4, 0, 2, 0, 0, 0, 2]
    assert own.sum(1).tolist() == [6, 0, 0, 6]


def test_a_column_weight_is_a_view() -> None:
    embeddings = ColumnEmbeddings([3, 4], [2, 2])
    weight = embeddings.column_weight(1)
    assert weight.untyped_storage().data_ptr() == embeddings.tables[0].untyped_storage().data_ptr()
    with torch.no_grad():
        weight[2] = 7.0
    assert embeddings(torch.tensor([[0, 2]]))[0, 2:].tolist() == [7.0, 7.0]


def test_vectors_start_small_and_are_cut_at_two_deviations() -> None:
    torch.manual_seed(0)
    table = ColumnEmbeddings([2000], 50).tables[0].detach()
    assert 0.019 < table.abs().max() <= 0.02
    assert table.std() == pytest.approx(0.01 * 0.8796, rel=0.01)  # cut at 2 deviations


def bags(lengths: list[int], dtype: torch.dtype) -> Bag:
    rng = torch.Generator().manual_seed(sum(lengths))
    ends = torch.tensor([0, *lengths]).cumsum(0)
    values = torch.randint(0, 6, (int(ends[-1]),), generator=rng)
    return Bag(values.to(dtype), ends[:-1], torch.rand(len(values), generator=rng))


@pytest.mark.parametrize("norm", ["mean", "sqrt"])
@given(
    lengths=st.lists(st.integers(0, 4), max_size=4),
    is_weighted=st.booleans(),
    dtype=st.sampled_from([torch.int32, torch.int64]),
)
def test_a_set_is_the_scaled_sum_of_its_vectors_and_nothing_if_it_is_empty(
    norm: str, lengths: list[int], is_weighted: bool, dtype: torch.dtype
) -> None:
    sets = SetEmbeddings([6], 3, norm=norm)
    bag = bags(lengths, dtype)
    weights = bag.weights if is_weighted else torch.ones(len(bag.values))
    expected = torch.zeros(len(lengths), 3)
    ends = [*bag.offsets.tolist(), len(bag.values)]
    for row, (start, stop) in enumerate(pairwise(ends)):
        for at in range(start, stop):
            vector = sets.tables[0][int(bag.values[at])].detach()
            expected[row] += weights[at] * vector / (stop - start) ** {"mean": 1, "sqrt": 0.5}[norm]
    given_bag = bag if is_weighted else bag._replace(weights=None)
    torch.testing.assert_close(sets((given_bag,)).detach(), expected)


@pytest.mark.parametrize("norm", ["mean", "sqrt"])
def test_a_batch_of_empty_sets_has_zero_vectors_and_zero_gradients(norm: str) -> None:
    sets = SetEmbeddings([6], 3, norm=norm)
    nothing = Bag(torch.zeros(0, dtype=torch.int32), torch.zeros(4, dtype=torch.int32))
    out = sets((nothing,))
    assert torch.equal(out, torch.zeros(4, 3))
    out.sum().backward()
    assert torch.equal(sets.tables[0].grad, torch.zeros(6, 3))


def test_a_sets_rows_are_named() -> None:
    tabular = TabularModel([3], set_cardinalities=[4, 6], set_widths=[2, 3])
    ((table, rows),) = tabular.set_rows(1)
    assert table is tabular.set_embeddings.tables[1]
    assert rows == slice(0, 6)
    dot = DotProductBias([3, 4], factors=2, set_cardinalities=[5, 6])
    assert [(t.data_ptr(), r) for t, r in dot.set_rows(1)] == [
        (dot.set_factors[1].data_ptr(), slice(0, 6)),
        (dot.set_biases[1].data_ptr(), slice(0, 6)),
    ]


@pytest.mark.parametrize("width", [0, -2])
def test_a_width_is_positive(width: int) -> None:
    with pytest.raises(DataError, match=f"widths: expected a positive integer, got {width}"):
        ColumnEmbeddings([3, 4], [2, width])


def test_one_row_without_its_batch_is_said_in_words() -> None:
    with pytest.raises(DataError, match=r"x_cat: expected \(B, 2\) indices, got \(2,\)"):
        ColumnEmbeddings([3, 4])(torch.tensor([1, 2]))


def test_a_missing_set_column_is_said_in_words() -> None:
    with pytest.raises(DataError, match="x_sets has 0 set columns, expected 1"):
        TabularModel([3], set_cardinalities=[4])(torch.zeros(2, 1, dtype=torch.long))


def test_features_that_the_model_has_not_are_refused() -> None:
    with pytest.raises(DataError, match="x_cont has 2 features, but the model has 0"):
        TabularModel([3])(torch.zeros(2, 1, dtype=torch.long), torch.zeros(2, 2))
