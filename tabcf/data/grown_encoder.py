"""An encoder with further entities and categories behind those that it has."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from tabcf.contracts.tables import EVENT
from tabcf.data.encoder import Encoder
from tabcf.data.encodings import NumberEncoding
from tabcf.data.entities import Entity
from tabcf.data.plans import Maker, in_order, plugin_errors, training_frames
from tabcf.data.sources import Source

__all__ = ["grown_encoder", "unknown_shares"]


def grown_encoder(
    encoder: Encoder,
    entities: Mapping[str, Entity],
    events: Source,
    *,
    refit: Source | None = None,
) -> Encoder:
    """The same with what is new; all that it knows keeps its index, and numbers their scales.

    Args:
        encoder: Stays as it is.
        entities: Its entities with further ones, as `grown_entity` gives them.
        events: Events that may bring new categories.
        refit: All training events, where columns that follow them are to be fitted anew; otherwise
            such columns know nothing of entities that come now.

    Raises:
        DataError: A column is missing, or its values are of another type than in training.
    """
    before = {name: int(e.index.max(initial=0)) + 1 for name, e in encoder.entities.items()}
    states = {column.plan.key: column.state for column in encoder.fitted}
    plans = {column.plan.key: column.plan for column in encoder.fitted}
    if refit is not None:
        maker = Maker(training_frames(refit, entities), plans, states)
        for plan in in_order(plans.values()):
            if plan.definition.fit is not None and plan.definition.follows_events:
                tables = maker.tables(plan)
                with plugin_errors(plan):
                    states[plan.key] = plan.definition.fit(tables, plan.options)
    columns = []
    for column in encoder.fitted:
        definition, known = column.plan.definition, column.known
        if refit is not None and definition.follows_events:
            known = {}
        elif definition.fit is not None:
            known = {**before, **known}
        columns.append(replace(column, state=states[column.plan.key], known=known))
    # It knows the entities already, and makes the values that its vocabularies are to know.
    made = Encoder(columns, entities).made(events)
    grown = []
    for column in columns:
        encoding = column.encoding
        if encoding is not None:
            series, source = made[column.plan.key]
            if column.plan.table != EVENT:
                # As in a fit, of entities with training events alone.
                trained = entities[column.plan.table].row_of_index
                series = series.iloc[trained].reset_index(drop=True)
            encoding = encoding.grown(series, source)
        grown.append(replace(column, encoding=encoding))
    n_fitted = encoder.layout.cardinalities | encoder.n_fitted
    return Encoder(grown, entities, n_fitted=n_fitted)


def unknown_shares(encoder: Encoder, events: Source, *, by: Encoder) -> dict[str, float]:
    """Share of events whose id, category or value of a set an encoder does not know, by column.

    An event with a set counts where any of its values is unknown; what is missing is not unknown.

    Args:
        encoder: Whose vocabularies count.
        events: What it may not know.
        by: Knows the attributes of all whom the events name.
    """
    shares = {}
    for name, rows in encoder.encode_ids(events).items():
        entity = encoder.entities[name]
        is_there = events.frame[entity.plan.id].notna().to_numpy()
        shares[name] = float(np.mean(is_there & (entity.index[rows] == 0)))
    encodings = {plan.key: encoding for plan, encoding in encoder.columns}
    made, own_rows = by.made(events), by.encode_ids(events)
    for plan, _ in by.columns:
        encoding = encodings[plan.key]
        if isinstance(encoding, NumberEncoding):
            continue
        series, source = made[plan.key]
        is_unknown = encoding.unknown(series, source)
        if plan.table != EVENT:
            is_unknown = is_unknown[own_rows[plan.table]]
        shares[plan.key] = float(is_unknown.mean())
    return shares
