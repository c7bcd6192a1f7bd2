"""Reading what a query gives from a database, by SQLAlchemy and the database's own driver.

Rows come from a server-side cursor, some ten thousand at a time, and are kept as Arrow columns, so
that Python objects of only a few of them are in memory. The transaction is rolled back.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator, Sequence
from decimal import Decimal
from typing import TYPE_CHECKING, Any
from urllib.parse import quote
from uuid import UUID

from tabcf.data.arrow import to_frame
from tabcf.data.source import Source
from tabcf.errors import DataError, MissingExtraError

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ["query_batches", "read_query"]

_NAME = "the query"
_ROWS = 50_000
_VARIABLE = re.compile(r"\$\{(\w+)\}")


def read_query(
    url: str, query: str, *, where: str = "data", on_rows: Callable[[int], None] | None = None
) -> Source:
    """The rows that a query gives.

    Args:
        url: Of the database, in SQLAlchemy's form; `${NAME}` stands for an environment variable,
            which may hold the whole URL.
        query: What is asked, in the database's own SQL.
        where: What to call it in messages.
        on_rows: Told by the way how many rows came so far.

    Raises:
        DataError: The variable is not set, the database cannot be reached, it does not know what
            is asked for, or there are no rows; or its driver is not installed. No message shows
            what the variables hold.
        MissingExtraError: SQLAlchemy is not installed.
    """
    parts: list[pa.Table] = []
    n_rows = 0
    for part in _parts(url, query, where):
        parts.append(part)
        n_rows += part.num_rows
        if on_rows is not None:
            on_rows(n_rows)
    return Source(to_frame(_joined(parts)), _NAME)


def query_batches(url: str, query: str, *, where: str = "data") -> Iterator[Source]:
    """The same rows, some ten thousand at a time; a column's type is that of the block's values."""
    for part in _parts(url, query, where):
        yield Source(to_frame(part), _NAME)


def _parts(url: str, query: str, where: str) -> Iterator[pa.Table]:
    """The rows of a query as Arrow tables, as the cursor gives them."""
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
    is_empty = True
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
                for rows in result.partitions(_ROWS):
                    is_empty = False
                    yield _table(names, rows)
            connection.rollback()
    except sa.exc.SQLAlchemyError as error:
        said = str(getattr(error, "orig", None) or error).strip().splitlines() or [""]
        raise DataError(f"{where}.sql: {engine.url!r}: {said[0]}") from None
    finally:
        engine.dispose()
    if is_empty:
        raise DataError(f"{where}.sql.query: expected rows, got none")


def _filled(url: str, where: str) -> str:
    """The URL with the values of the environment's variables, quoted where they are parts of it."""

    def value(match: re.Match[str]) -> str:
        found = os.environ.get(match[1])
        if found is None:
            raise DataError(f"{where}.sql.url: the environment variable {match[1]} is not set")
        return found if match[0] == url else quote(found, safe="")

    return _VARIABLE.sub(value, url)


def _table(names: Sequence[str], rows: Sequence[Sequence[Any]]) -> pa.Table:
    import pyarrow as pa

    columns = zip(*rows, strict=True)
    arrays = [_array(name, values) for name, values in zip(names, columns, strict=True)]
    return pa.Table.from_arrays(arrays, names=list(names))


def _joined(parts: Sequence[pa.Table]) -> pa.Table:
    """All parts as one table; a column's type is one that all its values fit."""
    import pyarrow as pa

    try:
        return pa.concat_tables(parts, promote_options="permissive")
    except pa.ArrowInvalid as error:
        raise DataError(f"{_NAME}: {str(error).splitlines()[0]}") from None


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
        raise DataError(f"{_NAME}: column '{name}': {str(error).splitlines()[0]}") from None
