"""Reading what a query gives from a database, by SQLAlchemy and the database's own driver.

Rows come from a server-side cursor, some ten thousand at a time, and are kept as Arrow columns, so
that Python objects of only a few of them are in memory. The transaction is rolled back.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Sequence
from decimal import Decimal
from typing import TYPE_CHECKING, Any
from urllib.parse import quote
from uuid import UUID

from tabcf.data.arrow import to_frame
from tabcf.data.source import Source
from tabcf.errors import DataError, MissingExtraError

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ["read_query"]

_ROWS = 50_000
_VARIABLE = re.compile(r"\$\{(\w+)\}")


def read_query(url: str, query: str, *, where: str = "data") -> Source:
    """The rows that a query gives.

    Args:
        url: Of the database, in SQLAlchemy's form; `${NAME}` stands for an environment variable,
            which may hold the whole URL.
        query: What is asked, in the database's own SQL.
        where: What to call it in messages.

    Raises:
        DataError: The variable is not set, the database cannot be reached, it does not know what
            is asked for, or there are no rows; or its driver is not installed. No message shows
            what the variables hold.
        MissingExtraError: SQLAlchemy is not installed.
    """
    try:
        import sqlalchemy as sa
    except ImportError:
        raise MissingExtraError("sqlalchemy", "sql") from None

    try:
        engine = sa.create_engine(_filled(url, where))
    except (sa.exc.NoSuchModuleError, ImportError) as error:
        kind = url.partition(":")[0]
        raise DataError(
            f"{where}.sql.url: the driver of {kind} is not installed ({error}); the extra 'sql' "
            "has that of postgresql+psycopg, and sqlite needs none"
        ) from None
    except sa.exc.ArgumentError:
        raise DataError(
            f"{where}.sql.url: expected a URL such as sqlite:///ratings.db or "
            f"postgresql+psycopg://me:${{PASSWORD}}@host/name, got {url!r}"
        ) from None
    try:
        with engine.connect() as connection:
            cursor = connection.execution_options(stream_results=True, yield_per=_ROWS)
            with cursor.execute(sa.text(query)) as result:
                if not result.returns_rows:
                    raise DataError(f"{where}.sql.query: expected a query that gives rows")
                names = list(result.keys())
                twice = sorted({name for name in names if names.count(name) > 1})
                if twice:
                    raise DataError(
                        f"{where}.sql.query: column names must be unique; given twice: "
                        f"{', '.join(twice)}; name them apart with AS"
                    )
                table = _table(names, result.partitions())
            connection.rollback()
    except sa.exc.SQLAlchemyError as error:
        said = str(getattr(error, "orig", None) or error).strip().splitlines() or [""]
        raise DataError(f"{where}.sql: {engine.url!r}: {said[0]}") from None
    finally:
        engine.dispose()
    if table.num_rows == 0:
        raise DataError(f"{where}.sql.query: expected rows, got none")
    return Source(to_frame(table), "the query")


def _filled(url: str, where: str) -> str:
    """The URL with the values of the environment's variables, quoted where they are parts of it."""

    def value(match: re.Match[str]) -> str:
        found = os.environ.get(match[1])
        if found is None:
            raise DataError(f"{where}.sql.url: the environment variable {match[1]} is not set")
        return found if match[0] == url else quote(found, safe="")

    return _VARIABLE.sub(value, url)


def _table(names: Sequence[str], partitions: Iterator[Sequence[Any]]) -> pa.Table:
    """Rows as one Arrow table; a column's type is one that all its values fit."""
    import pyarrow as pa

    parts = []
    for rows in partitions:
        columns = zip(*rows, strict=True)
        arrays = [_array(name, values) for name, values in zip(names, columns, strict=True)]
        parts.append(pa.Table.from_arrays(arrays, names=list(names)))
    if not parts:
        return pa.Table.from_arrays([pa.nulls(0) for _ in names], names=list(names))
    try:
        return pa.concat_tables(parts, promote_options="permissive")
    except pa.ArrowInvalid as error:
        raise DataError(f"the query: {str(error).splitlines()[0]}") from None


def _array(name: str, values: Sequence[Any]) -> pa.Array:
    import pyarrow as pa

    first = next((value for value in values if value is not None), None)
    if isinstance(first, Decimal):
        values = [None if value is None else float(value) for value in values]
    elif isinstance(first, UUID):
        values = [None if value is None else str(value) for value in values]
    try:
        return pa.array(values)
    except (pa.ArrowInvalid, pa.ArrowTypeError) as error:
        raise DataError(f"the query: column '{name}': {str(error).splitlines()[0]}") from None
