"""An approximate index of item vectors: lists without a product with every item.

It is hnswlib's graph (Malkov and Yashunin, "Efficient and robust approximate nearest neighbor
search using Hierarchical Navigable Small World graphs", 2018) over inner products. A levelled index
gives each item one more coordinate, which makes all equally long and leaves every product as it is,
so that the nearest items are those with the highest products (Bachrach et al., "Speeding up the
Xbox recommender system using a Euclidean transformation for inner-product spaces", 2014). That
finds far more where items have biases, and far less where their vectors differ much in length, so
that both are tried; what the better one finds still depends on the vectors and is measured.
"""

from tabcf.recommend.index.build import PLACES, build_index
from tabcf.recommend.index.choice import FROM_ITEMS, IndexUse, KeptIndex, chosen_index
from tabcf.recommend.index.files import IndexInfo
from tabcf.recommend.index.graph import ItemIndex
from tabcf.recommend.index.lists import check_index, indexed_items

__all__ = [
    "FROM_ITEMS",
    "PLACES",
    "IndexInfo",
    "IndexUse",
    "ItemIndex",
    "KeptIndex",
    "build_index",
    "check_index",
    "chosen_index",
    "indexed_items",
]
