"""The training events of a run as answers to questions."""

from __future__ import annotations

import numpy as np

from tabcf.contracts.selector import Gain, PastAnswers
from tabcf.contracts.target import TargetInfo
from tabcf.data.sources import Source
from tabcf.data.targets import encode_target
from tabcf.errors import RunError
from tabcf.recommend.trained import Trained

__all__ = ["answers_of", "past_answers"]


def answers_of(target: TargetInfo, events: Source, is_positive: np.ndarray) -> np.ndarray:
    """`(N,)` float64: what events say of their items, as selectors see answers.

    Raises:
        DataError: The target is missing, or a value of it is wrong.
        RunError: It is no single number.
    """
    if target.kind == "classes" or len(target.columns) > 1:
        raise RunError(
            "questions need a target that one number answers: a rating, a number, yes or no, or an "
            f"implicit one; this run predicts {', '.join(target.columns)} ({target.kind})"
        )
    encoded = encode_target(target, events)
    if encoded is None:
        return is_positive.astype(np.float64)
    # Encoded as 32-bit numbers, of which seven digits are right.
    values = encoded.double().numpy() * target.scale[0] + target.center[0]
    return np.round(values, 6)


def past_answers(trained: Trained, *, gain: Gain | None = None, seed: int = 0) -> PastAnswers:
    """What a run's training users said of its items.

    Of several events of one pair the last one counts.

    Args:
        trained: A model of users and items whose training events were kept.
        gain: What new users' answers would tell.
        seed: Of a selector's draws.

    Raises:
        RunError: The events were not kept, or the target is no single number.
    """
    trained.require_entities("questions")
    events, target = trained.events, trained.target
    value = answers_of(target, events.source, events.is_positive)
    rows = trained.encoder.encode_ids(events.source)
    users, items = rows["user"], rows["item"]
    n_items = len(trained.encoder.entities["item"])
    # Reversed, so that the first of a pair's entries is its last event.
    pairs = (users.astype(np.int64) * n_items + items)[::-1]
    _, last = np.unique(pairs, return_index=True)
    last = len(pairs) - 1 - last
    last = last[(users[last] > 0) & (items[last] > 0)]
    known, user = np.unique(users[last], return_inverse=True)
    return PastAnswers(
        trained.encoder.entities["item"].ids.values_of(range(1, n_items)),
        len(known),
        user.astype(np.int64),
        items[last].astype(np.int64) - 1,
        value[last],
        target,
        seed,
        gain,
    )
