"""Models that are solved, not trained: mean, biases, popularity, EASE and EDLAE.

All but EDLAE are the baselines that every other model is shown beside.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import torch
from torch import Tensor, nn
from torch.nn import functional

from tabcf.contracts.definitions import FitProblem
from tabcf.contracts.inputs import Bag, Inputs, Query
from tabcf.contracts.layout import Layout
from tabcf.contracts.table import Table
from tabcf.data.pairs import event_counts, row_blocks
from tabcf.errors import TrainingError
from tabcf.training.neighbours import co_occurrences, distinct_pairs

__all__ = ["EASE", "EDLAE", "BiasModel", "MeanModel", "PopularModel", "ease_weights"]

# Events at a time.
_BLOCK = 1 << 18


class MeanModel(nn.Module):
    """The training mean, for everyone and everything.

    Shape:
        Output: `(B, 1)`.
    """

    mean: Tensor

    ignores_users = True

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(1))

    def solve(self, problem: FitProblem) -> None:
        """Take the mean of the encoded target."""
        self.mean.copy_(_mean_target(problem.train))

    def forward(
        self, x_cat: Tensor, x_cont: Tensor | None = None, x_sets: tuple[Bag, ...] | None = None
    ) -> Tensor:
        return self.mean.expand(len(x_cat), 1)

    def score_items(self, query: Query, items: Inputs) -> Tensor:
        """`(B, I, 1)`, all equal."""
        return self.mean.expand(len(query.user.x_cat), len(items.x_cat), 1)


class BiasModel(nn.Module):
    """Mean + user bias + item bias, by damped alternating least squares.

    A bias is the sum of residuals over (count + damping), so that few ratings move it little
    (Koren, 2010, section 2.1; damping and sweeps as in Surprise's `BaselineOnly`). An unknown id
    has bias 0.

    Shape:
        Output: `(B, 1)`.
    """

    mean: Tensor

    def __init__(
        self,
        layout: Layout,
        *,
        damping_user: float = 15.0,
        damping_item: float = 10.0,
        sweeps: int = 10,
    ) -> None:
        super().__init__()
        assert layout.user is not None and layout.item is not None
        self._user, self._item = layout.user, layout.item
        self._damping = damping_user, damping_item
        self._sweeps = sweeps
        self.register_buffer("mean", torch.zeros(1))
        n_users, n_items = (
            layout.categorical[position].cardinality for position in (self._user, self._item)
        )
        self.user_bias = nn.Parameter(torch.zeros(n_users), requires_grad=False)
        self.item_bias = nn.Parameter(torch.zeros(n_items), requires_grad=False)

    def solve(self, problem: FitProblem) -> None:
        """Alternate between the items' biases and the users'."""
        train = problem.train
        # What is in memory is looked up once, what is on disk each time.
        kept = list(_ratings(train)) if train.release is None else None

        def ratings() -> Iterable[tuple[Tensor, Tensor, Tensor]]:
            return _ratings(train) if kept is None else kept

        self.mean.copy_(_mean_target(train))
        n_user, n_item = (
            torch.zeros(len(bias), dtype=torch.int64) for bias in (self.user_bias, self.item_bias)
        )
        for users, items, _ in ratings():
            n_user += torch.bincount(users, minlength=len(n_user))
            n_item += torch.bincount(items, minlength=len(n_item))
        for _ in range(self._sweeps):
            sums = torch.zeros_like(self.item_bias)
            for users, items, target in ratings():
                sums.index_add_(0, items, target - self.mean - self.user_bias[users])
            self.item_bias.copy_(_damped(sums, n_item, self._damping[1]))
            sums = torch.zeros_like(self.user_bias)
            for users, items, target in ratings():
                sums.index_add_(0, users, target - self.mean - self.item_bias[items])
            self.user_bias.copy_(_damped(sums, n_user, self._damping[0]))

    def forward(
        self, x_cat: Tensor, x_cont: Tensor | None = None, x_sets: tuple[Bag, ...] | None = None
    ) -> Tensor:
        user, item = self.user_bias[x_cat[:, self._user]], self.item_bias[x_cat[:, self._item]]
        return (self.mean + user + item).unsqueeze(1)

    def score_items(self, query: Query, items: Inputs) -> Tensor:
        """`(B, I, 1)`; each user gets the items in the order of their biases."""
        user = self.mean + self.user_bias[query.user.x_cat[:, 0]]
        return (user[:, None] + self.item_bias[items.x_cat[:, 0]][None]).unsqueeze(2)

    def column_bias(self, column: int) -> Tensor:
        """`(n,)`: the biases of the user or the item column."""
        return self._biases(column)

    def column_rows(self, column: int) -> list[tuple[nn.Parameter, slice]]:
        """The biases of the user or the item column."""
        bias = self._biases(column)
        return [(bias, slice(0, len(bias)))]

    def terms(self, inputs: Inputs) -> list[tuple[tuple[int, ...], Tensor]]:
        """The mean, which goes with no column, and the two biases, each `(B,)`."""
        x_cat = inputs.x_cat
        return [
            ((), self.mean.expand(len(x_cat))),
            ((self._user,), self.user_bias[x_cat[:, self._user]]),
            ((self._item,), self.item_bias[x_cat[:, self._item]]),
        ]

    def _biases(self, column: int) -> nn.Parameter:
        return {self._user: self.user_bias, self._item: self.item_bias}[column]


class PopularModel(nn.Module):
    """Items by their number of training events: the same list for everyone."""

    count: Tensor

    ignores_users = True

    def __init__(self, layout: Layout) -> None:
        super().__init__()
        assert layout.item is not None
        size = layout.categorical[layout.item].cardinality
        self.register_buffer("count", torch.zeros(size))

    def solve(self, problem: FitProblem) -> None:
        """Count training events."""
        counts = event_counts(problem.train, "item")
        index = problem.train.entities["item"].index.long()
        of_index = torch.zeros(len(self.count), dtype=torch.int64).index_add_(0, index, counts)
        of_index[0] = 0
        self.count.copy_(of_index)

    def forward(
        self, x_cat: Tensor, x_cont: Tensor | None = None, x_sets: tuple[Bag, ...] | None = None
    ) -> Tensor:
        raise TrainingError("popular ranks items; it predicts nothing for a single event")

    def score_items(self, query: Query, items: Inputs) -> Tensor:
        """`(B, I, 1)`: counts."""
        count = self.count[items.x_cat[:, 0]]
        return count[None, :, None].expand(len(query.user.x_cat), -1, 1)

    def score_candidates(self, query: Query, items: Inputs) -> Tensor:
        """`(B, N, 1)`: counts of the N items of each user."""
        return self.count[items.x_cat[:, 0]].view(len(query.user.x_cat), -1, 1)


class EASE(nn.Module):
    """Linear item-to-item model in closed form (Steck, 2019).

    With X the users × items matrix of training events, `P = (XᵀX + l2·I)⁻¹` and
    `W = I - P / diag(P)` (column-wise, zero diagonal); a user's scores are their row of X times
    W. Row and column 0 stand for an unknown item and are zero. Needs items² memory and items³
    time: for catalogues up to some ten thousand items.
    """

    weight: Tensor

    def __init__(self, layout: Layout, *, l2: float = 200.0) -> None:
        super().__init__()
        assert layout.item is not None
        size = layout.categorical[layout.item].cardinality
        self._l2 = l2
        self.register_buffer("weight", torch.zeros(size, size))

    def solve(self, problem: FitProblem) -> None:
        """Invert the regularised Gram matrix, in double precision."""
        users, items = distinct_pairs(problem.train)
        n_items = len(self.weight)
        gram = torch.zeros(n_items, n_items, dtype=torch.float64)
        for block, counts in co_occurrences(users, items, n_items):
            gram[:, block] = counts
        gram = gram[1:, 1:]
        self.weight[1:, 1:] = ease_weights(gram, self.penalty(gram.diagonal())).float()

    def penalty(self, counts: Tensor) -> Tensor:
        """What the diagonal is raised by, from the items' numbers of users."""
        return torch.full_like(counts, self._l2)

    def forward(
        self, x_cat: Tensor, x_cont: Tensor | None = None, x_sets: tuple[Bag, ...] | None = None
    ) -> Tensor:
        raise TrainingError(f"{self._name} ranks items; it predicts nothing for a single event")

    @property
    def reads_history(self) -> bool:
        """Always true: a user is the items that they had."""
        return True

    def score_items(self, query: Query, items: Inputs) -> Tensor:
        """`(B, I, 1)`: sums over the users' past items; zero for a user without any."""
        return self._scores(query).index_select(1, items.x_cat[:, 0]).unsqueeze(2)

    def score_candidates(self, query: Query, items: Inputs) -> Tensor:
        """`(B, N, 1)`: the same for N items of each user."""
        scores = self._scores(query)
        candidates = items.x_cat[:, 0].long().view(len(scores), -1)
        return scores.gather(1, candidates).unsqueeze(2)

    def _scores(self, query: Query) -> Tensor:
        """`(B, I)` of all items that there are."""
        if query.history is None:
            raise TrainingError(f"{self._name} scores items from a user's past items; got none")
        history = query.history
        return functional.embedding_bag(
            history.values.long(), self.weight, history.offsets, mode="sum"
        )

    @property
    def _name(self) -> str:
        return type(self).__name__.lower()


class EDLAE(EASE):
    """EASE that has learnt from inputs with some of the past items dropped (Steck, 2020).

    In expectation over all such inputs an item of n users is held down by `l2 + n · dropout / (1 -
    dropout)` in place of l2: popular items by more. Without dropout it is EASE.
    """

    def __init__(self, layout: Layout, *, l2: float = 200.0, dropout: float = 0.5) -> None:
        super().__init__(layout, l2=l2)
        self._dropout = dropout

    def penalty(self, counts: Tensor) -> Tensor:
        """The ridge, and a share of the item's number of users."""
        return self._l2 + counts * (self._dropout / (1 - self._dropout))


def ease_weights(gram: Tensor, penalty: Tensor) -> Tensor:
    """`(I, I)` weights from each item to the others, as `EASE` says; overwrites the Gram matrix.

    Args:
        gram: `(I, I)` float64: users that had both items.
        penalty: `(I,)`: what its diagonal is raised by.
    """
    gram.diagonal().add_(penalty)
    inverse = torch.cholesky_inverse(torch.linalg.cholesky(gram))
    weight = -inverse / inverse.diagonal()[None]
    weight.fill_diagonal_(0.0)
    return weight


def _mean_target(train: Table) -> Tensor:
    """The mean of all events' encoded targets."""
    total = sum(float(target.double().sum()) for _, _, target in _ratings(train))
    return torch.tensor([total / max(len(train), 1)])


def _ratings(train: Table) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
    """User indices, item indices and targets of all events, some at a time, which may be on disk.

    There are no indices where there are no users or items.
    """
    assert train.target is not None
    for places in row_blocks(train):
        users, items = (
            train.entities[name].index[train.rows[name][places]].long()
            if name in train.entities
            else torch.zeros(0, dtype=torch.int64)
            for name in ("user", "item")
        )
        yield users, items, train.target[places]


def _damped(sums: Tensor, counts: Tensor, damping: float) -> Tensor:
    """Sums of values by group over (count + damping); group 0 is nobody and stays 0."""
    means = sums / (counts + damping)
    means[0] = 0.0
    return means
