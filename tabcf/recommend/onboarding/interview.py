"""An interview with one new user: questions, answers, and the list that follows from them."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from tabcf.contracts.selector import Selector
from tabcf.data.entities import Entity
from tabcf.data.sources import Source
from tabcf.errors import DataError
from tabcf.recommend.basis import basis_of, cold
from tabcf.recommend.fold_in.draws import FoldInDraws
from tabcf.recommend.fold_in.finding import fold_in
from tabcf.recommend.fold_in.fold_in import FoldIn
from tabcf.recommend.fold_in.given import read_given
from tabcf.recommend.fold_in.newcomers import Newcomers
from tabcf.recommend.onboarding.scale import LIKE, AnswerScale
from tabcf.recommend.trained import Trained

__all__ = ["FORMAT", "Interview"]

FORMAT = 1


class Interview:
    """Asks a new user about items; the list changes with every answer, nothing is trained anew.

    Args:
        trained: The model.
        selector: Who chooses the questions.
        fold: What finds the user's row; None for a model without rows.
        user: The user's id, which nobody else has, with attributes if there are any; one row.
        about: What a saved interview says of where it came from, such as the selector's name.

    Attributes:
        scale: Which answers there are.
    """

    def __init__(
        self,
        trained: Trained,
        selector: Selector,
        fold: FoldIn | FoldInDraws | None,
        user: Source,
        *,
        about: Mapping[str, Any],
    ) -> None:
        self.scale = AnswerScale(trained.target)
        self._trained = trained
        self._selector = selector
        self._fold = fold
        self._user = user
        self._about = dict(about)
        self._answers: dict[Any, Any] = {}
        # The next questions, and how many were sought: fewer come where none is left.
        self._asking: list[Any] = []
        self._n_sought = 0

    def __len__(self) -> int:
        """Questions that were answered, those with "don't know" included."""
        return len(self._answers)

    @property
    def n_known(self) -> int:
        """Questions about items that the user knew."""
        return sum(answer is not None for answer in self._answers.values())

    def ask(self, k: int = 1) -> pd.DataFrame:
        """The next k questions, the best one first; the same ones until there is an answer.

        Returns:
            One row an item: its id, then its label and attributes as its table has them. Fewer rows
            where every other item was asked about, none at the end.

        Raises:
            DataError: k is not positive.
        """
        if k < 1:
            raise DataError(f"k: expected a positive number, got {k}")
        if self._n_sought < k:
            # Selectors know the run's items alone.
            known = [id for id in self._answers if id in self._items_known.ids]
            said = [self._answers[id] for id in known]
            answers = [None if a is None else self.scale.number(a) for a in said]
            self._asking = list(self._selector.select(k, known, answers))
            self._n_sought = k
        return self._items(self._asking[:k])

    def answer(self, item: Any, answer: Any, *, is_text: bool = False) -> str:
        """Take an answer, to a question or to none: users may name items themselves.

        Args:
            item: The item's id, or its label where only one item has it. An id that no item has is
                taken as well: it counts as the average item.
            answer: The rating; the label of a binary target; `like` or `dislike` for an implicit
                target, of which a like is an event, and a disliked item is only not listed. None
                for "don't know": the item is not asked about again and stays recommendable.
            is_text: The item comes from a command line, where ids are text.

        Returns:
            What is known of the item: `trained`, `cold item: attributes` or `cold item: average`.

        Raises:
            DataError: It is neither an id nor a known label, or was answered before, or there is no
                such answer.
        """
        entity = self._items_known
        row = entity.row_or_unknown(item, is_text=is_text)
        id = entity.ids.values_of([row])[0] if row else entity.id_of(item, is_text=is_text)
        if id in self._answers:
            raise DataError(f"{entity.plan.id} {id!r} is answered already; undo takes answers back")
        self._answers[id] = None if answer is None else self.scale.checked(answer)
        self._n_sought = 0
        return self._basis([id])[0]

    def undo(self) -> Any:
        """Take the last answer back; its item is the next question. Gives the item's id.

        Raises:
            DataError: There is no answer.
        """
        if not self._answers:
            raise DataError("undo: there is no answer to take back")
        item, _ = self._answers.popitem()
        self._asking, self._n_sought = [item], 1
        return item

    @property
    def ratings(self) -> pd.DataFrame:
        """What the user said of the items they know: id, label, the answer, and its basis.

        The answer has the target's name, so that the frame can be given to `Run.fold_in`; that of
        an implicit target is in the column `answer`. `basis` is what `answer` gave.
        """
        known = {item: a for item, a in self._answers.items() if a is not None}
        plan = self._items_known.plan
        shown = [plan.id, *([plan.label] if plan.label else [])]
        said = {self.scale.column: list(known.values()), "basis": self._basis(known)}
        return self._items(known)[shown].assign(**said)

    def recommend(
        self,
        k: int = 10,
        *,
        context: Mapping[str, Any] | None = None,
        where: str | None = None,
        deny: Iterable[Any] = (),
        max_per: Mapping[str, int] | None = None,
    ) -> pd.DataFrame:
        """The user's list after the answers so far; items that they know are left out.

        Args are those of `Run.recommend`.

        Returns:
            One row a recommendation: `rank`, item id, label, `score` and `basis`.
        """
        found = self.newcomer().recommend(
            k=k, context=context, where=where, deny=deny, max_per=max_per
        )
        return found.drop(columns=self._trained.encoder.entities["user"].plan.id)

    def newcomer(self) -> Newcomers:
        """The user as `Run.fold_in` gives them: with predictions, their spread and the vector."""
        encoder = self._trained.encoder
        user = encoder.entities["user"].plan.id
        ratings = self.ratings
        answers = ratings[self.scale.column]
        is_positive = np.ones(len(ratings), dtype=bool)
        if self._trained.target.kind == "implicit":
            is_positive = (answers == LIKE).to_numpy(dtype=bool)
        events = {
            user: [self._user.frame[user].iloc[0]] * len(ratings),
            encoder.entities["item"].plan.id: ratings.iloc[:, 0],
            **dict.fromkeys(self._trained.target.columns, answers),
        }
        given = read_given(
            self._trained,
            "user",
            Source(pd.DataFrame(events), "answers"),
            is_positive=is_positive,
            attributes=self._user,
        )
        return fold_in(self._trained, given, self._fold)

    def save(self, path: str | Path) -> Path:
        """Write the answers to a JSON file, in place of one that is there; `Run.interview` resumes.

        Raises:
            DataError: The file cannot be written.
        """
        path = Path(path)
        saved = {
            "format": FORMAT,
            **self._about,
            "answers": [{"item": i, "answer": a} for i, a in self._answers.items()],
        }
        scratch = path.with_name(f".{path.name}.new")
        try:
            scratch.write_text(_as_json(saved), encoding="utf-8")
            scratch.replace(path)
        except OSError as error:
            raise DataError(f"{path}: cannot be written: {error.strerror}") from None
        return path

    def __repr__(self) -> str:
        return f"Interview({len(self)} questions answered, {self.n_known} of them known)"

    @property
    def _items_known(self) -> Entity:
        return self._trained.encoder.entities["item"]

    def _items(self, ids: Iterable[Any]) -> pd.DataFrame:
        """Rows of the items' table, the id first, then the label; blank where there is none."""
        entity, ids = self._items_known, list(ids)
        rows = entity.ids.index_of(ids)
        if rows.all():
            frame = entity.frame.iloc[rows - 1].reset_index(drop=True)
        else:
            frame = entity.with_blank_row().frame.iloc[rows].reset_index(drop=True)
            frame[entity.plan.id] = ids
        first = [entity.plan.id, *([entity.plan.label] if entity.plan.label else [])]
        return frame[[*first, *frame.columns.drop(first)]]

    def _basis(self, ids: Iterable[Any]) -> list[str]:
        """What is known of items: `trained`, `cold item: attributes` or `cold item: average`."""
        entity = self._items_known
        rows = entity.ids.index_of(list(ids))
        found = basis_of(self._trained.encoder, "item", entity.index[rows], rows > 0)
        return [cold(what, "item") for what in found]


def _as_json(value: Any) -> str:
    """Numbers of numpy, as attributes may be, become plain ones."""
    return json.dumps(value, indent=1, ensure_ascii=False, default=lambda v: v.item()) + "\n"
