"""Networks over categorical columns, continuous features and sets; torch alone."""

from __future__ import annotations

from tabcf.nn.collab import CollabNN
from tabcf.nn.dot_product import DotProduct, DotProductBias
from tabcf.nn.embedding import ColumnEmbeddings, SetEmbeddings, embedding_width
from tabcf.nn.embedding_nn import EmbeddingNN
from tabcf.nn.rows import RowTable, lookup
from tabcf.nn.scoring import score_by_pairs
from tabcf.nn.tabular import TabularModel

__all__ = [
    "CollabNN",
    "ColumnEmbeddings",
    "DotProduct",
    "DotProductBias",
    "EmbeddingNN",
    "RowTable",
    "SetEmbeddings",
    "TabularModel",
    "embedding_width",
    "lookup",
    "score_by_pairs",
]
