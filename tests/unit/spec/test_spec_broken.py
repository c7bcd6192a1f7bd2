"""Every mistake here gets exactly these lines, and no traceback."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tabcf.errors import SpecError
from tabcf.plugin.registry import Registry
from tabcf.spec.read import read_spec

MODEL = "{embedding_nn: {layers: [100, 50], widths: {user: 74, item: 102}, y_range: [0, 5.5]}}"
TARGET = "{column: rating, levels: [1, 2, 3, 4, 5]}"
SPLIT = "{random: {valid: 0.1, test: 0.1}}"
WEEKDAY = "  weekday: {date_part: {from: timestamp, part: weekday}}"
COLUMNS = f"columns:\n{WEEKDAY}\n"
ITEM_COLUMNS = '    columns: {year: number, genres: {set: {separator: "|"}}}\n'
ITEM = f"  item:\n    id: item_id\n    table: items.csv\n    label: title\n{ITEM_COLUMNS}"

# What is wrong, what is replaced in the whole spec to make it so, and the lines that come of it.
EDITED: list[tuple[str, dict[str, str], list[str]]] = [
    (
        "a negative layer",
        {"[100, 50]": "[100, -50]"},
        [
            "16:38: model.layers[1]: expected a positive integer, got -50",
        ],
    ),
    (
        "a misspelt loss",
        {"loss: mse": "loss: bc"},
        [
            "17:7: loss: no loss named 'bc'; did you mean 'bce'? known: bce, cross_entropy, "
            "huber, mae, mse, softmax",
        ],
    ),
    (
        "a misspelt loss with options",
        {"loss: mse": "loss: {hubr: {delta: 1}}"},
        [
            "17:8: loss: no loss named 'hubr'; did you mean 'huber'? known: bce, cross_entropy, "
            "huber, mae, mse, softmax",
        ],
    ),
    (
        "an unknown key of train",
        {"learning_rate": "learning_rte"},
        [
            "19:37: train: unknown key 'learning_rte'; did you mean 'learning_rate'? known: "
            "epochs, batch_size, learning_rate, weight_decay, decay_biases, user_weights, "
            "item_propensity, time_decay, l2, shuffle, memory, schedule, early_stopping, ensemble, "
            "average, clip_norm, refit, engine, update, checkpoint, workers, shard, device, "
            "threads, compile, precision",
        ],
    ),
    (
        "an unknown key at the top",
        {"model:": "modle:"},
        [
            "1:1: model: is required",
            "16:1: unknown key 'modle'; did you mean 'model'? known: tabcf, name, plugins, "
            "data, target, entities, columns, model, fit, loss, negatives, metrics, split, "
            "unknown, duplicates, train, retrieve, rerank, track, tune, seed",
        ],
    ),
    (
        "an unknown option",
        {"layers:": "layer:"},
        [
            "16:24: model: unknown key 'layer'; did you mean 'layers'? known: y_range, layers, "
            "widths, dropout",
        ],
    ),
    (
        "an unknown option of a component without options",
        {"loss: mse": "loss: {mse: {delta: 1}}"},
        [
            "17:14: loss: unknown key 'delta'; there are no options",
        ],
    ),
    (
        "a value for a component without options",
        {"loss: mse": "loss: {mse: 3}"},
        [
            "17:13: loss: mse takes no options, got 3",
        ],
    ),
    (
        "a value for options without a shorthand",
        {SPLIT: "{random: 0.2}"},
        [
            "18:17: split: expected a mapping of random's options (valid, test), got 0.2",
        ],
    ),
    (
        "a wrong shorthand value",
        {SPLIT: "{official: u9}"},
        [
            "18:19: split: expected one of u1, u2, u3, u4, u5 or a mapping, got 'u9'",
        ],
    ),
    (
        "a required option left out",
        {SPLIT: "official"},
        [
            "18:8: split.fold: is required",
        ],
    ),
    (
        "options that are nothing",
        {SPLIT: "{official: }"},
        [
            "18:19: split.fold: is required",
        ],
    ),
    (
        "an option with an alias left out",
        {"from: timestamp, ": ""},
        [
            "15:24: columns.weekday.from: is required",
        ],
    ),
    (
        "an option by its Python name",
        {"from: timestamp": "from_: timestamp"},
        [
            "15:24: columns.weekday.from: is required",
            "15:25: columns.weekday: unknown key 'from_'; did you mean 'from'? known: from, part",
        ],
    ),
    (
        "a wrong choice",
        {"part: weekday": "part: weekdy"},
        [
            "15:48: columns.weekday.part: expected one of hour, weekday, month, got 'weekdy'; "
            "did you mean 'weekday'?",
        ],
    ),
    (
        "text for a number",
        {"epochs: 5": "epochs: many"},
        [
            "19:17: train.epochs: expected a positive integer, got 'many'",
        ],
    ),
    (
        "a quoted number",
        {"epochs: 5": 'epochs: "5"'},
        [
            "19:17: train.epochs: expected a positive integer, got '5'",
        ],
    ),
    (
        "a fraction for an integer",
        {"epochs: 5": "epochs: 2.5"},
        [
            "19:17: train.epochs: expected a positive integer, got 2.5",
        ],
    ),
    (
        "a truth value for a number",
        {"epochs: 5": "epochs: true"},
        [
            "19:17: train.epochs: expected a positive integer, got true",
        ],
    ),
    (
        "text for a truth value",
        {"epochs: 5": "refit: yes"},
        [
            "19:16: train.refit: expected true or false, got 'yes'",
        ],
    ),
    (
        "a number for a truth value",
        {"epochs: 5": "refit: 1"},
        [
            "19:16: train.refit: expected true or false, got 1",
        ],
    ),
    (
        "a number with a leading zero",
        {"seed: 42": "seed: 042"},
        [
            "20:7: seed: expected an integer of at least 0, got '042'",
        ],
    ),
    (
        "a negative seed",
        {"seed: 42": "seed: -1"},
        [
            "20:7: seed: expected an integer of at least 0, got -1",
        ],
    ),
    (
        "an infinite number",
        {"2e-2": ".inf"},
        [
            "19:52: train.learning_rate: expected a positive number, got .inf",
        ],
    ),
    (
        "a negative decay in place of the mapping",
        {"weight_decay: 0.1": "weight_decay: -0.1"},
        [
            "19:72: train.weight_decay: expected a number of at least 0 or a mapping of names "
            "to numbers of at least 0, got -0.1",
        ],
    ),
    (
        "a negative decay of a column",
        {"weight_decay: 0.1": "weight_decay: {default: 0.1, age: -1}"},
        [
            "19:92: train.weight_decay.age: expected a number of at least 0, got -1",
        ],
    ),
    (
        "a share of one",
        {"valid: 0.1": "valid: 1"},
        [
            "18:25: split.valid: expected a number of at least 0 and below 1, got 1",
        ],
    ),
    (
        "a range of one number",
        {"y_range: [0, 5.5]": "y_range: [0]"},
        [
            "16:83: model.y_range: expected a list of 2 numbers, got [0]",
        ],
    ),
    (
        "a falling range",
        {"y_range: [0, 5.5]": "y_range: [5.5, 0]"},
        [
            "16:83: model.y_range: expected two rising numbers, got [5.5, 0.0]",
        ],
    ),
    (
        "widths that are text",
        {"widths: {user: 74, item: 102}": "widths: wide"},
        [
            "16:51: model.widths: expected a positive integer or a mapping of names to positive "
            "integers, got 'wide'",
        ],
    ),
    (
        "a width of zero",
        {"user: 74": "user: 0"},
        [
            "16:58: model.widths.user: expected a positive integer, got 0",
        ],
    ),
    (
        "a number for text",
        {"data: ratings.csv": "data: 5"},
        [
            "2:7: data: expected text or a mapping, got 5",
        ],
    ),
    (
        "another version",
        {"tabcf: 1": "tabcf: 2"},
        [
            "1:8: tabcf: expected 1, got 2",
        ],
    ),
    (
        "no version",
        {"tabcf: 1\n": ""},
        [
            "1:1: tabcf: is required",
        ],
    ),
    (
        "two components in one place",
        {"loss: mse": "loss: {mse: , mae: }"},
        [
            "17:7: loss: expected one name, or a mapping with one key, got the keys: mse, mae",
        ],
    ),
    (
        "a number for a component",
        {"loss: mse": "loss: 5"},
        [
            "17:7: loss: expected one name, or a mapping with one key, got 5",
        ],
    ),
    (
        "nothing for a component",
        {f"model: {MODEL}": "model:"},
        [
            "16:7: model: expected one name, or a mapping with one key, got nothing",
        ],
    ),
    (
        "a metric that is no list",
        {"loss: mse": "metrics: rmse"},
        [
            "17:10: metrics: expected a list of components, got 'rmse'",
        ],
    ),
    (
        "a misspelt metric",
        {"loss: mse": "metrics: [rmse, {ndgc: 10}]"},
        [
            "17:18: metrics[1]: no metric named 'ndgc'; did you mean 'ndcg'? known: mae, ndcg, "
            "recall, rmse",
        ],
    ),
    (
        "a metric of no items",
        {"loss: mse": "metrics: [{ndcg: 0}]"},
        [
            "17:18: metrics[0]: expected a positive integer or a mapping, got 0",
        ],
    ),
    (
        "columns that are a word",
        {COLUMNS: "columns: all\n"},
        [
            "14:10: columns: expected auto or a mapping of names to components, got 'all'",
        ],
    ),
    (
        "a column that is a number",
        {"age: number": "age: 5"},
        [
            "8:38: entities.user.columns.age: expected one name, or a mapping with one key, got 5",
        ],
    ),
    (
        "a misspelt kind of column",
        {"gender: category": "gender: categry"},
        [
            "8:23: entities.user.columns.gender: no kind of column named 'categry'; did you "
            "mean 'category'? known: category, date_part, number, set",
        ],
    ),
    (
        "an empty separator",
        {'separator: "|"': 'separator: ""'},
        [
            "13:55: entities.item.columns.genres.separator: expected non-empty text, got ''",
        ],
    ),
    (
        "an entity without an id",
        {"    id: user_id\n": ""},
        [
            "6:5: entities.user.id: is required",
        ],
    ),
    (
        "an unknown key of an entity",
        {"label: title": "lable: title"},
        [
            "12:5: entities.item: unknown key 'lable'; did you mean 'table'? known: id, table, "
            "label, columns",
        ],
    ),
    (
        "falling levels",
        {"[1, 2, 3, 4, 5]": "[5, 4]"},
        [
            "3:9: target: expected at least two levels in rising order",
        ],
    ),
    (
        "levels of several columns",
        {"column: rating": "columns: [rating]"},
        [
            "3:9: target: levels go with a single column",
        ],
    ),
    (
        "a level that is text",
        {"[1, 2, 3, 4, 5]": "[1, two, 3]"},
        [
            "3:38: target.levels[1]: expected a number, got 'two'",
        ],
    ),
    (
        "no target",
        {f"target: {TARGET}\n": ""},
        [
            "1:1: target: is required",
        ],
    ),
    (
        "an empty target",
        {f"target: {TARGET}": "target: {}"},
        [
            "3:9: target: expected exactly one of column, columns and implicit",
        ],
    ),
    (
        "a misspelt schedule",
        {"epochs: 5": "schedule: {cosin: {warmup: 0.1}}"},
        [
            "19:20: train.schedule: no schedule named 'cosin'; did you mean 'cosine'? known: "
            "constant, cosine, one_cycle",
        ],
    ),
    (
        "a misspelt engine",
        {"epochs: 5": "engine: eagr"},
        [
            "19:17: train.engine: no engine named 'eagr'; did you mean 'eager'? known: auto, "
            "eager, fused",
        ],
    ),
    (
        "an engine of a plugin that is not installed",
        {"epochs: 5": "engine: ray"},
        [
            "19:17: train.engine: engine 'ray' is of a plugin that is not installed; pip install "
            "'tabcf-ray[ray]'",
        ],
    ),
    (
        "a misspelt policy for unknown values",
        {"seed: 42": "unknown: maskd"},
        [
            "20:10: unknown: no policy for unknown values named 'maskd'; did you mean 'masked'? "
            "known: masked, mean",
        ],
    ),
    (
        "a wrong rate of masking",
        {"seed: 42": "unknown: {masked: 2}"},
        [
            "20:19: unknown: expected a number of at least 0 and below 1 or a mapping, got 2",
        ],
    ),
    (
        "a wrong rule for duplicates",
        {"seed: 42": "duplicates: newest"},
        [
            "20:13: duplicates: expected one of keep, first, last, mean, got 'newest'",
        ],
    ),
    (
        "no patience",
        {"epochs: 5": "early_stopping: 0"},
        [
            "19:25: train.early_stopping: expected a positive integer or a mapping, got 0",
        ],
    ),
    (
        "a key given twice",
        {"seed: 42": "seed: 42\nseed: 43"},
        [
            "21:1: seed: given twice, first on line 20",
        ],
    ),
    (
        "a nested key given twice",
        {"epochs: 5": "epochs: 5, epochs: 6"},
        [
            "19:20: train.epochs: given twice, first on line 19",
        ],
    ),
    (
        "a model without its entities",
        {ITEM: ""},
        [
            "11:8: model: embedding_nn needs the entities user and item; missing: item; models "
            "that do without: tabular",
        ],
    ),
    (
        "a loss for another target",
        {"loss: mse": "loss: bce"},
        [
            "17:7: loss: bce takes binary targets, and this one is rating; losses that fit: "
            "cross_entropy, huber, mae, mse",
        ],
    ),
    (
        "a catalogue loss for ratings",
        {"loss: mse": "loss: softmax"},
        [
            "17:7: loss: softmax takes implicit targets, and this one is rating; losses that "
            "fit: cross_entropy, huber, mae, mse",
        ],
    ),
    (
        "a catalogue loss with event columns",
        {TARGET: "{implicit: {}}", "loss: mse": "loss: softmax"},
        [
            "17:7: loss: softmax scores a user's whole catalogue at once, and an item that "
            "nobody chose has no event to take `weekday` from; leave that out, or take columns "
            "that belong to a user or an item",
        ],
    ),
    (
        "a loss for a closed form",
        {TARGET: "{implicit: {}}", MODEL: "{ease: 200}", COLUMNS: "", "loss: mse": "loss: softmax"},
        [
            "15:7: loss: ease is solved in closed form, so there is no loss to choose; leave "
            "out `loss`",
        ],
    ),
    (
        "a model for another target",
        {MODEL: "ease", "loss: mse\n": ""},
        [
            "16:8: model: ease learns implicit targets, and this one is rating; models that "
            "fit: dot_product_bias, embedding_nn, tabular",
        ],
    ),
    (
        "classes from a single output",
        {MODEL: "dot_product_bias", "loss: mse": "loss: cross_entropy"},
        [
            "17:7: loss: cross_entropy needs one output a level, and dot_product_bias gives a "
            "single number; use a model with several outputs (embedding_nn, tabular) or another "
            "loss",
        ],
    ),
    (
        "several targets from a single output",
        {TARGET: "{columns: [rating, minutes]}", MODEL: "dot_product_bias"},
        [
            "16:8: model: dot_product_bias gives a single number, and the target has 2 columns; "
            "models with several outputs: embedding_nn, tabular",
        ],
    ),
    (
        "a metric for another target",
        {COLUMNS: "", TARGET: "{implicit: {}}", "loss: mse": "metrics: [ndcg, rmse]"},
        [
            "15:17: metrics[1]: rmse measures rating and regression targets, and this one is "
            "implicit; metrics that fit: ndcg, recall",
        ],
    ),
    (
        "early stopping without validation",
        {"valid: 0.1": "valid: 0", "epochs: 5": "early_stopping: 3"},
        [
            "19:25: train.early_stopping: needs a validation part, and the split random leaves "
            "none; give the split a `valid` share",
        ],
    ),
    (
        "a name of a column in two tables",
        {WEEKDAY: "  year: number"},
        [
            "15:9: columns.year: 'year' is in entities.item.columns as well; a name can be used "
            "once: give one of them another name, with `from: year`",
        ],
    ),
    (
        "a column named like an entity",
        {WEEKDAY: "  item: number"},
        [
            "15:9: columns.item: 'item' is the entity's own name; give the column another one",
        ],
    ),
    (
        "the target among the columns",
        {WEEKDAY: "  rating: number"},
        [
            "15:11: columns.rating: 'rating' is the target; a model must not see what it predicts",
        ],
    ),
    (
        "the target under another name",
        {WEEKDAY: "  stars: {category: {from: rating}}"},
        [
            "15:10: columns.stars: 'rating' is the target; a model must not see what it predicts",
        ],
    ),
    (
        "an id among the events' columns",
        {WEEKDAY: "  user_id: category"},
        [
            "15:12: columns.user_id: 'user_id' is the id of user, which the model receives already",
        ],
    ),
    (
        "an id among its entity's columns",
        {"gender: category": "user_id: category"},
        [
            "8:24: entities.user.columns.user_id: 'user_id' is the id of user, which the model "
            "receives already",
        ],
    ),
    (
        "the target as an id",
        {"id: item_id": "id: rating"},
        [
            "10:9: entities.item.id: 'rating' is the target; it cannot be an id too",
        ],
    ),
    (
        "automatic columns beside entities",
        {COLUMNS: "columns: auto\n"},
        [
            "14:10: columns: auto is for a plain table, and this spec has entities; name the "
            "events' columns, or leave `columns` out if there are none",
        ],
    ),
    (
        "attributes without a table",
        {"    table: users.csv\n": ""},
        [
            "7:14: entities.user.columns: these columns are read from the entity's table; give "
            "`table`, or move them to the top-level `columns` if they stand in the events",
        ],
    ),
    (
        "a label without a table",
        {"    table: items.csv\n": "", ITEM_COLUMNS: ""},
        [
            "11:12: entities.item.label: is a column of the entity's table; give `table`",
        ],
    ),
    (
        "a ranking metric of a plain table",
        {
            "entities:\n": "name: |\n",
            "loss: mse": "metrics: [ndcg]",
            "embedding_nn:": "tabular:",
        },
        ["17:11: metrics[0]: ndcg ranks items for users; it needs the entities user and item"],
    ),
    (
        "a rule for duplicates without pairs",
        {
            "entities:\n": "name: |\n",
            "seed: 42": "duplicates: last",
            "embedding_nn:": "tabular:",
        },
        [
            "20:13: duplicates: last is about events of one user with one item; it needs the "
            "entities user and item",
        ],
    ),
    (
        "early stopping beside a split with a mistake of its own",
        {"valid: 0.1": "valid: none", "epochs: 5": "early_stopping: 3"},
        ["18:25: split.valid: expected a number of at least 0 and below 1, got 'none'"],
    ),
]

# What is wrong with a text as such.
TEXTS: list[tuple[str, str, str]] = [
    (
        "an empty file",
        "",
        ": expected a mapping with the keys tabcf, target and model, got nothing",
    ),
    (
        "a list",
        "- tabcf\n- model\n",
        ": expected a mapping with the keys tabcf, target and model, got [tabcf, model]",
    ),
    (
        "a single word",
        "movies\n",
        ": expected a mapping with the keys tabcf, target and model, got 'movies'",
    ),
    (
        "a colon in a text",
        "tabcf: 1\ndata: C: drive\n",
        ":2:8: not valid YAML: mapping values are not allowed in this context; quote a text "
        "that holds a colon and a space",
    ),
    (
        "an open bracket",
        "tabcf: 1\nmodel: [a, b\nloss: mse\n",
        ":3:5: not valid YAML: did not find expected ',' or ']' while parsing a flow sequence "
        "that starts on line 2",
    ),
    (
        "a tab",
        "tabcf: 1\ntrain:\n\tepochs: 3\n",
        ":3:1: not valid YAML: found character that cannot start any token while scanning for "
        "the next token; indent with spaces, not with a tab",
    ),
    (
        "a word that starts with @",
        "tabcf: 1\ndata: @home\n",
        ":2:7: not valid YAML: found character that cannot start any token while scanning for "
        "the next token; quote a text that starts with @",
    ),
    (
        "two documents",
        "tabcf: 1\n---\ntabcf: 1\n",
        ":2:1: expected one document, and here starts a second one",
    ),
    (
        "a Python object",
        "tabcf: 1\ndata: !!python/object/apply:os.system [ls]\n",
        ":2:7: the tag !!python/object/apply:os.system is not allowed; write plain values",
    ),
    (
        "a tag of one's own",
        "tabcf: 1\nmodel: !include model.yaml\n",
        ":2:8: the tag !include is not allowed; write plain values",
    ),
    (
        "a merge key",
        "base: &base {epochs: 3}\ntrain:\n  <<: *base\n",
        ":3:3: merge keys (<<) are not supported; repeat the keys here",
    ),
    (
        "an alias to nothing",
        "tabcf: 1\nmodel: *other\n",
        ":2:8: *other repeats &other, which is not above it",
    ),
    (
        "an alias inside itself",
        "a: &a [*a]\n",
        ":1:8: *a stands inside the value that it repeats",
    ),
    (
        "a control character",
        "tabcf: 1\nname: a\x07b\n",
        ":2:8: not valid YAML: the character U+0007",
    ),
    (
        "a list as a key",
        "? [a, b]\n: 1\n",
        ":1:3: expected a name as the key, got a collection",
    ),
]


def _problems(path: str, registry: Registry) -> list[str]:
    with pytest.raises(SpecError, match=r"\Amovies\.yaml") as caught:
        read_spec(path, registry)
    return list(caught.value.problems)


@pytest.mark.parametrize(
    ("changes", "lines"), [case[1:] for case in EDITED], ids=[case[0] for case in EDITED]
)
def test_a_mistake_in_a_whole_spec(
    changes: dict[str, str],
    lines: list[str],
    movies: str,
    registry: Registry,
    write_spec: Callable[[str], str],
) -> None:
    text = movies
    for old, new in changes.items():
        assert old in text
        text = text.replace(old, new, 1)
    assert _problems(write_spec(text), registry) == [f"movies.yaml:{line}" for line in lines]


@pytest.mark.parametrize(
    ("text", "line"), [case[1:] for case in TEXTS], ids=[case[0] for case in TEXTS]
)
def test_a_text_that_is_no_spec(
    text: str, line: str, registry: Registry, write_spec: Callable[[str], str]
) -> None:
    assert _problems(write_spec(text), registry) == [f"movies.yaml{line}"]


def test_all_mistakes_are_told_at_once_from_top_to_bottom(
    movies: str, registry: Registry, write_spec: Callable[[str], str]
) -> None:
    text = movies
    wrong = {
        "levels: [1,": "levels: [one,",
        "gender: category": "gender: 4",
        "[100, 50]": "[100, -50]",
        "loss: mse": "loss: bprr",
        "epochs: 5": "epoch: 5",
        "seed: 42": "seed: 42\nseed: x",
    }
    for old, new in wrong.items():
        text = text.replace(old, new)
    problems = _problems(write_spec(text), registry)
    lines = [int(problem.split(":")[1]) for problem in problems]
    assert lines == [3, 8, 16, 17, 19, 21]


def test_what_a_broken_field_decides_is_left_open(
    movies: str, registry: Registry, write_spec: Callable[[str], str]
) -> None:
    """The loss does not fit the target that was meant; nobody knows which one that was."""
    text = movies.replace("levels: [1, 2, 3, 4, 5]", "levels: many").replace("mse", "softmax")
    problems = _problems(write_spec(text), registry)
    assert problems == ["movies.yaml:3:34: target.levels: expected a list of numbers, got 'many'"]


def test_checks_between_whole_fields_go_on_beside_a_broken_one(
    movies: str, registry: Registry, write_spec: Callable[[str], str]
) -> None:
    text = movies.replace("seed: 42", "seed: x").replace("loss: mse", "loss: softmax")
    problems = _problems(write_spec(text), registry)
    assert [problem.split(": ")[1] for problem in problems] == ["loss", "seed"]
