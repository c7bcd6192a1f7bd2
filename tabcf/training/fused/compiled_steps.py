"""Compiled steps of a training; imports numba, so it is imported only where it is used."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Generator, Tensor

from tabcf.training.fused import compiled
from tabcf.training.fused.problem import Form, PairProblem
from tabcf.training.fused.sequences import sequences
from tabcf.training.fused.state import BPR, HUBER, MAE, MSE, Rows, Scratch, Sequences, Settings
from tabcf.training.optimiser import BETA2, EPS, Piece
from tabcf.training.steps import Rate

__all__ = ["CompiledSteps"]

# What is kept from one step to the next, beside the rows' values.
_ROWS = ("mean", "root", "bias_mean", "bias_root", "last")
_TABLE = ("betas", "keeps", "ratios")
_FORMS: dict[Form, int] = {"mse": MSE, "mae": MAE, "huber": HUBER, "bpr": BPR}


class CompiledSteps:
    """Steps that update a batch's rows alone; a row makes up for the steps that it missed.

    Args:
        problem: What is trained, in place.
        pieces: The weight decays.
        clip_norm: Gradients are scaled down to this norm.
    """

    def __init__(
        self, problem: PairProblem, pieces: Sequence[Piece], *, clip_norm: float | None = None
    ) -> None:
        self._problem = problem
        n_rows, n_factors = problem.factors.shape
        own = [_decay(pieces, problem.factors, row) for row in (0, problem.n_left)]
        if problem.biases is None:
            own += [0.0, 0.0]
        else:
            own += [_decay(pieces, problem.biases, row) for row in (0, problem.n_left)]
        self._decays = sorted(set(own))
        left, right, left_bias, right_bias = (self._decays.index(decay) for decay in own)
        low, high = problem.y_range or (0.0, 0.0)
        self._settings = Settings(
            form=_FORMS[problem.form],
            delta=float(problem.delta),
            has_range=problem.y_range is not None,
            low=float(low),
            high=float(high),
            has_bias=problem.biases is not None,
            l2=float(problem.l2),
            clip_norm=float(clip_norm or 0.0),
            beta2=BETA2,
            base_eps=EPS,
            batch_size=problem.batch_size,
            n_left=problem.n_left,
            left=left,
            right=right,
            left_bias=left_bias,
            right_bias=right_bias,
        )
        bias = torch.zeros(n_rows, 1) if problem.biases is None else problem.biases
        self._rows = Rows(
            value=problem.factors.detach().numpy(),
            mean=np.zeros((n_rows, n_factors), np.float32),
            root=np.zeros((n_rows, n_factors), np.float32),
            bias=bias.detach().squeeze(1).numpy(),
            bias_mean=np.zeros(n_rows, np.float32),
            bias_root=np.zeros(n_rows, np.float32),
            last=np.zeros(n_rows, np.int32),
        )
        most = min(problem.batch_size * (2 + problem.n_drawn), n_rows)
        self._scratch = Scratch(
            slot=np.full(n_rows, -1, np.int32),
            touched=np.zeros(most, np.int32),
            gradient=np.zeros((most, n_factors), np.float32),
            bias_gradient=np.zeros(most, np.float32),
            faded=np.zeros((most, 2)),
            betas=np.zeros(problem.n_steps + 1),
            keeps=np.zeros((len(self._decays), problem.n_steps + 1)),
            ratios=np.zeros((len(self._decays), problem.n_steps + 1)),
            moves=np.zeros((len(self._decays), 5, problem.n_steps + 1), np.float32),
        )
        self._sequences: Sequences | None = None
        self._n_before = 0

    @property
    def n_steps(self) -> int:
        return self._problem.n_steps

    def epoch(
        self, rates: Sequence[Rate], rng: Generator, *, skip: int = 0
    ) -> Iterator[Sequence[float]]:
        """Some ten thousand events at a time."""
        self._sequences = sequences(
            rates, n_before=self._n_before, decays=self._decays, beta2=BETA2, eps=EPS
        )
        if not skip:
            self._rows.last.fill(0)
        n_done = 0
        for ids, target, weight in self._problem.blocks(rng):
            if n_done < skip:  # whole blocks: none is broken off
                n_done += -(-len(ids) // self._problem.batch_size)
                if n_done == skip:
                    yield ()
                continue
            losses = np.zeros(-(-len(ids) // self._problem.batch_size))
            n_taken = compiled.take_steps(
                self._rows,
                self._scratch,
                self._sequences,
                self._settings,
                ids.numpy(),
                _array(target),
                _array(weight),
                n_done + 1,
                losses,
            )
            n_done += n_taken
            yield losses[: n_taken + 1].tolist()
        self._n_before += n_done

    def settle(self) -> None:
        """Bring all rows up to the last step."""
        if self._sequences is not None:
            # Each step touches a row; a count of steps could be missing those of a block that
            # ended just as Ctrl-C was pressed.
            t = int(self._rows.last.max())
            compiled.settle(self._rows, self._scratch, self._sequences, self._settings, t)

    def state(self) -> dict[str, Tensor]:
        """Moments, the step that each row was brought up to, and the table of missed steps."""
        found = {name: torch.from_numpy(value) for name, value in self._kept().items()}
        return found | {"n_before": torch.tensor(self._n_before)}

    def load_state(self, state: Mapping[str, Tensor]) -> None:
        for name, value in self._kept().items():
            value[...] = state[name].numpy()
        self._n_before = int(state["n_before"])

    def _kept(self) -> dict[str, NDArray[Any]]:
        rows, scratch = self._rows._asdict(), self._scratch._asdict()
        return {name: rows[name] for name in _ROWS} | {name: scratch[name] for name in _TABLE}


def _decay(pieces: Sequence[Piece], parameter: Tensor, row: int) -> float:
    """The decay of the piece in which a parameter's row is."""
    for piece in pieces:
        rows = piece.rows or slice(0, len(parameter))
        if piece.parameter is parameter and rows.start <= row < rows.stop:
            return piece.decay
    raise AssertionError("each row has a decay")


def _array(values: Tensor | None) -> NDArray[np.float32]:
    """The values, or none of them; always of one type, for which code is compiled once."""
    return np.zeros(0, np.float32) if values is None else values.numpy()
