"""A small heavy group that no attribute names is found, and k-means is k-means."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from sklearn.metrics import silhouette_score

import tabcf
from tabcf.audit.clusters import find_groups, k_means, silhouette
from tabcf.errors import DataError
from tabcf.testing import heavy_group, tiny_ratings
from tests.flow.test_reranking import spec_in


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_a_planted_heavy_group_is_found_and_named(seed: int, tmp_path: Path) -> None:
    tables = heavy_group(seed=seed)
    spec = spec_in(tmp_path, model="popular")
    tables.items.to_csv(tmp_path / "items.csv", index=False)
    run = tabcf.fit(spec, tables.events)
    first = find_groups(run.trained)[0]
    assert first.name == "found: anime"
    assert np.flatnonzero(first.members).tolist() == list(range(1, 9))
    audited = run.audit(["user.city"], find_groups=True)
    own = audited.groups[audited.groups["group"] == "found: anime"].set_index("users")
    # Eight of 120 users with a seventh of the events.
    assert own.loc["members", "n_users"] == 8
    assert own.loc["all", "share_data"] > 0.12


def test_names_of_groups_are_different(tmp_path: Path) -> None:
    run = tabcf.fit(spec_in(tmp_path, model="popular"), heavy_group().events)
    names = [group.name for group in find_groups(run.trained, seed=3)]
    assert len(set(names)) == len(names) >= 2


def test_without_attributes_nothing_is_found() -> None:
    spec = {
        "tabcf": 1,
        "target": {"implicit": {}},
        "entities": {"user": {"id": "user_id"}, "item": {"id": "item_id"}},
        "model": "popular",
    }
    run = tabcf.fit(spec, tiny_ratings())
    with pytest.raises(DataError, match="find_groups: groups are found by what items are like"):
        find_groups(run.trained)


def test_k_means_finds_clouds_and_its_sum_of_squares_is_that_of_their_means() -> None:
    rng = np.random.default_rng(0)
    cloud = np.repeat([0, 1, 2], 20)
    features = rng.normal(size=(60, 2)) * 0.1 + np.array([[0, 0], [3, 0], [0, 3]])[cloud]
    cluster, squares = k_means(features, 3, rng)
    assert len({(a, b) for a, b in zip(cloud, cluster, strict=True)}) == 3
    means = np.stack([features[cluster == n].mean(0) for n in range(3)])
    assert squares == pytest.approx(((features - means[cluster]) ** 2).sum())


def test_more_clusters_than_different_rows_end() -> None:
    cluster, squares = k_means(np.ones((5, 2)), 3, np.random.default_rng(0))
    assert squares == 0.0
    assert len(cluster) == 5


@pytest.mark.parametrize("n", [2, 3, 5])
def test_the_silhouette_is_that_of_scikit_learn(n: int) -> None:
    rng = np.random.default_rng(n)
    features, cluster = rng.normal(size=(40, 3)), rng.integers(0, n, 40)
    cluster[0] = n  # a cluster of its own
    assert silhouette(features, cluster) == pytest.approx(silhouette_score(features, cluster))
