"""What a run's lists do to groups, now and over rounds: the part of `Run` that audits."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from tabcf.audit.choice import Choice
from tabcf.audit.findings import Audit
from tabcf.audit.policies import compare_policies
from tabcf.audit.result import LoopResult
from tabcf.run.auditing import audit_policies
from tabcf.run.contents import RunContents
from tabcf.run.rerank import policy_name

if TYPE_CHECKING:
    from tabcf.run.run import Run

__all__ = ["Audited"]


class Audited(RunContents):
    """Audits of lists, policies side by side, and simulated feedback loops."""

    def audit(
        self,
        groups: Iterable[str] | None = None,
        *,
        k: int = 10,
        data: Any = None,
        find_groups: bool = False,
        min_share: float = 0.01,
        rerank: Any = True,
    ) -> Audit:
        """What lists do to groups of users and items: whose share in them is larger than in data.

        Args:
            groups: Attributes such as `user.occupation` or `item.genres`, a group for each value,
                or `item.genres=Horror` alone; by default all that have at most 50 values.
            k: Length of the lists, which everyone with training events is given.
            data: A frame or a path to rows that were kept from training, for accuracy by group.
            find_groups: Look for groups of heavy users too that no attribute names: users whose
                items are alike by the named columns of items, or by all.
            min_share: Groups with a smaller share of the training events are left out.
            rerank: As `recommend` takes it.

        Returns:
            Figures over all, by group and by taste; `print` shows the most telling ones.

        Raises:
            DataError: There is no such attribute or value.
            RunError: The run has no users and items.
        """
        found = audit_policies(
            self.trained,
            {"served": self.reranking(rerank)},
            groups=groups,
            find=find_groups,
            k=k,
            held=None if data is None else self._encode(data)[2],
            min_share=min_share,
        )
        return found["served"]

    def compare_policies(
        self,
        policies: Iterable[Any],
        groups: Iterable[str] | None = None,
        *,
        k: int = 10,
        data: Any = None,
        find_groups: bool = False,
        min_share: float = 0.01,
    ) -> pd.DataFrame:
        """The model's own lists beside what re-rankers make of them: accuracy against fairness.

        Args:
            policies: Re-rankers, each as `recommend` takes them.
            groups: As for `audit`, like all that follow.
            k: Length of the lists.
            data: Rows that were kept from training.
            find_groups: Look for groups too.
            min_share: The smallest share of a group.

        Returns:
            One row a policy, `model` first: `policy`, `ndcg` and `recall` of held rows, the largest
            `amplification` of any `group`, that for `others` than its members, `gini`, `coverage`,
            `popularity_lift` and `tail`.
        """
        named = {"model": None} | {policy_name(p): self.reranking(p) for p in policies}
        audits = audit_policies(
            self.trained,
            named,
            groups=groups,
            find=find_groups,
            k=k,
            held=None if data is None else self._encode(data)[2],
            min_share=min_share,
        )
        return compare_policies(audits)

    def simulate(
        self,
        policies: Sequence[Any] = ("model", "popular", "random"),
        *,
        rounds: int = 10,
        k: int = 10,
        seeds: Sequence[int] = (0,),
        groups: Sequence[str] = (),
        utility: Run | pd.DataFrame | None = None,
        share: float = 0.02,
        activity: pd.Series[Any] | None = None,
        choice: Choice | None = None,
        state: str | Path | None = None,
        max_users: int | None = None,
        on_round: Callable[[str, int, int], None] | None = None,
    ) -> LoopResult:
        """What would become of users and items if choices from lists were what is learnt from.

        Users, items and first interactions are those of the training events. In each round the
        model is fitted again on all interactions so far: a solved one anew, a trained one from
        its weights of the round before, for a tenth of its epochs.

        Args:
            policies: Who takes part, each in a world of its own: `model`, the model's own lists,
                `popular` and `random`; re-rankers as `recommend` takes them, such as
                `{"calibrated": {"of": "genres"}}`; or a mapping with options of `train`, such as
                `{"train": {"user_weights": 0.5}}`, and perhaps `rerank`.
            rounds: How many.
            k: Length of the lists.
            seeds: A world each, for each policy; figures spread over them.
            groups: Groups to watch: `item.genres=Animation`, whose members are the users with at
                least twice the usual share of such items, or `user.gender=F`, whose items are
                those at least twice as usual among members as among others.
            utility: A run whose scores, standardised for each user, are what items are worth to
                them, or a frame of users by items; by default a dot product of another seed
                (`ials`) on the same events.
            share: How many interactions a round would add if everyone took all that they look for,
                as a share of the first ones; each user's part is in proportion to their own.
            activity: How many items each user would take in a round, by id, in place of `share`.
            choice: How users choose from a list.
            state: A file that finished worlds are kept in, and beside it the one at work; a
                simulation that was cut off goes on from there with the round that was not done.
            max_users: Only so many users, drawn with the run's seed.
            on_round: Is told policy, seed and round after each.

        Raises:
            RunError: The target is not implicit, the run has no users and items or has two stages,
                `utility` does not know them all, or the file is of another simulation.
            DataError: A policy, a group or a number is not as it should be.
            SpecError: The options of a policy are not, or do not suit the run.
        """
        from tabcf.run.feedback import simulate_run

        return simulate_run(
            self,
            policies,
            rounds=rounds,
            k=k,
            seeds=seeds,
            groups=groups,
            utility=utility,
            share=share,
            activity=activity,
            choice=choice,
            state=None if state is None else Path(state),
            max_users=max_users,
            on_round=on_round,
        )
