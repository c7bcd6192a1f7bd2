"""Trained vectors of categorical and set-valued columns; knows nothing of what they feed.

Dimension letters: B rows, C categorical columns, S set columns, n cardinality, d width.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from tabcf.contracts.inputs import Bag
from tabcf.errors import DataError
from tabcf.nn.rows import RowTable, empty_rows, is_kept, lookup

__all__ = [
    "ColumnEmbeddings",
    "SetEmbeddings",
    "check_columns",
    "embedding_width",
    "init_rows",
    "pooled",
    "resolve_widths",
]

# Numbers that are drawn at a time.
_DRAWN = 1 << 22


def embedding_width(cardinality: int) -> int:
    """The width that fastai gives a column of so many values, the unknown one included.

    Example:
        >>> embedding_width(944), embedding_width(1683)
        (74, 103)
    """
    return min(600, round(1.6 * math.pow(cardinality, 0.56)))


def resolve_widths(
    cardinalities: Sequence[int], widths: int | Sequence[int | None] | None
) -> list[int]:
    """One width a column: as given, and fastai's where there is none."""
    if widths is None or isinstance(widths, int):
        widths = [widths] * len(cardinalities)
    if len(widths) != len(cardinalities):
        raise DataError(
            f"widths: expected one for each of {len(cardinalities)} columns, got {len(widths)}"
        )
    for width in widths:
        if width is not None and width < 1:
            raise DataError(f"widths: expected a positive integer, got {width}")
    return [
        embedding_width(n) if width is None else width
        for n, width in zip(cardinalities, widths, strict=True)
    ]


def check_columns(x_cat: Tensor, n_columns: int) -> None:
    """Raise `DataError` unless there are so many categorical columns; looks at shapes alone."""
    if x_cat.shape[1:] == (n_columns,):
        return
    if x_cat.ndim != 2:
        raise DataError(f"x_cat: expected (B, {n_columns}) indices, got {tuple(x_cat.shape)}")
    raise DataError(f"x_cat has {x_cat.shape[1]} columns, but the model has {n_columns}")


def init_rows(table: Tensor) -> Tensor:
    """Fill with N(0, 0.01²), cut at two deviations, as fastai does; some rows at a time.

    Drawing takes several times the memory of what is drawn.
    """
    for part in table.split(max(_DRAWN // max(table[:1].numel(), 1), 1)) if len(table) else ():
        nn.init.trunc_normal_(part, std=0.01, a=-0.02, b=0.02)
    return table


class ColumnEmbeddings(nn.Module):
    """One trained vector per categorical column, concatenated in column order.

    Columns of equal width share one table, each with its own rows in it, so that a step costs
    one look-up a width. Row 0 of every column is the unknown value and is trained like any other.
    Only the number of columns is checked: an index beyond its own column reads another's rows.

    Shape:
        Input: `(B, C)` int, column c in `range(cardinalities[c])`.
        Output: `(B, sum(widths))` float32.

    Example:
        >>> embeddings = ColumnEmbeddings([3, 5], widths=[2, 4])
        >>> embeddings(torch.zeros(7, 2, dtype=torch.long)).shape
        torch.Size([7, 6])
    """

    def __init__(
        self, cardinalities: Sequence[int], widths: int | Sequence[int | None] | None = None
    ) -> None:
        super().__init__()
        self.cardinalities = tuple(int(n) for n in cardinalities)
        self.widths = tuple(resolve_widths(self.cardinalities, widths))
        self._groups: list[tuple[int, list[int]]] = []
        self._place: dict[int, tuple[int, int]] = {}
        self.tables = nn.ParameterList()
        for width in dict.fromkeys(self.widths):
            columns = [c for c, own in enumerate(self.widths) if own == width]
            start, starts = 0, []
            for column in columns:
                self._place[column] = (len(self.tables), start)
                starts.append(start)
                start += self.cardinalities[column]
            self.tables.append(RowTable(init_rows(empty_rows(start, width))))
            number = len(self._groups)
            for name, numbers in (("start", starts), ("columns", columns)):
                self.register_buffer(
                    f"_{name}{number}", torch.tensor(numbers, dtype=torch.int32), persistent=False
                )
            self._groups.append((width, columns))

    @property
    def d_out(self) -> int:
        """Width of the output."""
        return sum(self.widths)

    def forward(self, x_cat: Tensor) -> Tensor:
        """Look up all columns."""
        n_columns = len(self.cardinalities)
        check_columns(x_cat, n_columns)
        if not n_columns:
            return torch.zeros(len(x_cat), 0, device=x_cat.device)
        if len(self._groups) == 1:
            index = x_cat + self._buffer("start", 0) if n_columns > 1 else x_cat
            return lookup(index, self.tables[0]).flatten(1)
        if len(self._groups) == n_columns:
            return torch.cat(
                [lookup(x_cat[:, cs[0]], self.tables[g]) for g, (_, cs) in self._enumerated()],
                1,
            )
        found: dict[int, Tensor] = {}
        for group, (_, columns) in self._enumerated():
            index = x_cat.index_select(1, self._buffer("columns", group))
            vectors = lookup(index + self._buffer("start", group), self.tables[group])
            found |= dict(zip(columns, vectors.unbind(1), strict=True))
        return torch.cat([found[c] for c in range(n_columns)], 1)

    def select(self, x_cat: Tensor, columns: Sequence[int]) -> Tensor:
        """Look up some columns: `(B, len(columns))` in, their vectors concatenated out."""
        check_columns(x_cat, len(columns))
        if not columns:
            return torch.zeros(len(x_cat), 0, device=x_cat.device)
        found = []
        for position, column in enumerate(columns):
            # The whole table and not a view of it, whose gradient would be padded to the whole.
            table, start = self._place[column]
            found.append(lookup(x_cat[:, position] + start, self.tables[table]))
        return found[0] if len(found) == 1 else torch.cat(found, 1)

    def column_weight(self, column: int) -> Tensor:
        """`(n, d)`: a view of one column's rows."""
        parameter, rows = self.column_rows(column)
        return parameter[rows]

    def column_rows(self, column: int) -> tuple[nn.Parameter, slice]:
        """Which rows of which table are a column's."""
        table, start = self._place[column]
        return self.tables[table], slice(start, start + self.cardinalities[column])

    def _enumerated(self) -> list[tuple[int, tuple[int, list[int]]]]:
        return list(enumerate(self._groups))

    def _buffer(self, name: str, group: int) -> Tensor:
        numbers: Tensor = getattr(self, f"_{name}{group}")
        return numbers


class SetEmbeddings(nn.Module):
    """One vector per set column: the sum of its values' vectors over √n, or their mean.

    An empty set is the zero vector. A bag's weights multiply its values' vectors.

    Shape:
        Input: S bags of B rows.
        Output: `(B, sum(widths))` float32.

    Example:
        >>> bag = Bag(torch.tensor([1, 2]), torch.tensor([0, 2]))
        >>> SetEmbeddings([4], widths=[3])((bag,)).shape
        torch.Size([2, 3])
    """

    def __init__(
        self,
        cardinalities: Sequence[int],
        widths: int | Sequence[int | None] | None = None,
        *,
        norm: str = "mean",
    ) -> None:
        super().__init__()
        if norm not in ("mean", "sqrt"):
            raise DataError(f"norm: expected mean or sqrt, got {norm!r}")
        self.cardinalities = tuple(int(n) for n in cardinalities)
        self.widths = tuple(resolve_widths(self.cardinalities, widths))
        self._norm = norm
        self.tables = nn.ParameterList(
            RowTable(init_rows(empty_rows(n, d)))
            for n, d in zip(self.cardinalities, self.widths, strict=True)
        )

    @property
    def d_out(self) -> int:
        """Width of the output."""
        return sum(self.widths)

    def forward(self, bags: Sequence[Bag] | None) -> Tensor:
        """Sum up all set columns, side by side."""
        return torch.cat(self.select(bags, range(len(self.tables))), 1)

    def select(self, bags: Sequence[Bag] | None, columns: Sequence[int]) -> list[Tensor]:
        """One `(B, d)` vector for each of some set columns, given their bags."""
        given = _checked(bags, len(columns))
        tables = [self.tables[column] for column in columns]
        return [pooled(b, t, norm=self._norm) for b, t in zip(given, tables, strict=True)]

    def select_for_all(
        self, others: Sequence[SetEmbeddings], bags: Sequence[Bag] | None
    ) -> list[tuple[Tensor, ...]]:
        """For these embeddings and others of the same columns, what each makes of all bags.

        Each bag is looked up once, in all tables side by side: its rows are sorted in the backward
        pass, which costs more than their sum. Tables with a keeper are read on their own.
        """
        found: list[tuple[Tensor, ...]] = []
        for column, bag in enumerate(_checked(bags, len(self.tables))):
            tables = [embeddings.tables[column] for embeddings in (self, *others)]
            if any(map(is_kept, tables)):
                found.append(tuple(pooled(bag, table, norm=self._norm) for table in tables))
            else:
                vectors = pooled(bag, torch.cat(tables, 1), norm=self._norm)
                found.append(vectors.split(self.widths[column], 1))
        return list(zip(*found, strict=True))


def _checked(bags: Sequence[Bag] | None, n_columns: int) -> tuple[Bag, ...]:
    given = tuple(bags or ())
    if len(given) != n_columns:
        raise DataError(f"x_sets has {len(given)} set columns, expected {n_columns}")
    return given


def pooled(bag: Bag, table: Tensor, *, norm: str) -> Tensor:
    """`(B, d)`: each row's values summed, over √n or n of them."""
    offsets = bag.offsets.to(bag.values.dtype)
    values = bag.values
    if is_kept(table):
        # Vectors one by one, so that the table is told of them.
        table = lookup(values, table)
        values = torch.arange(len(values), dtype=values.dtype, device=values.device)
    if norm == "mean" and bag.weights is None:
        return F.embedding_bag(values, table, offsets, mode="mean")
    total = F.embedding_bag(values, table, offsets, mode="sum", per_sample_weights=bag.weights)
    ends = torch.cat([offsets[1:], offsets.new_tensor([len(values)])])
    count = (ends - offsets).clamp_min(1).to(total.dtype).unsqueeze(1)
    return total / (count.sqrt() if norm == "sqrt" else count)
