"""Results in a table of a database, through SQLAlchemy: rows, and the number of their cut, in one transaction.

The rows are flat, as in CSV: a struct is columns `struct.field`, a list is JSON text, times are ISO 8601 text to the
nanosecond. How far an output is stands in a table `fyke_progress` beside it. Rows are held from cut to cut.
"""

from typing import Any

import pyarrow as pa
import sqlalchemy as sa

from fyke.errors import DataError
from fyke.io.outlet import Outlet
from fyke.io.sinks import align, flatten
from fyke.io.tables import concat

PROGRESS = "fyke_progress"
_ROWS_PER_INSERT = 10_000


class SqlSink(Outlet):
    """Write to a table, which is made with the columns of the first rows.

    Args:
        url: of the database, as SQLAlchemy has them.
        table: its name; a table of this name that another task made is not touched.

    >>> sink = SqlSink("sqlite://", "matches")
    >>> sink.resume("doc")
    0
    >>> sink.write(pa.table({"n": [1, 2]}))
    >>> sink.commit(1, is_last=True)
    """

    def __init__(self, url: str, table: str) -> None:
        try:
            self._engine = sa.create_engine(url)
        except (sa.exc.ArgumentError, sa.exc.NoSuchModuleError, ImportError) as error:
            raise DataError(f"{url}: no database that SQLAlchemy can reach ({error})") from error
        super().__init__(f"{self._engine.url.render_as_string(hide_password=True)}#{table}")
        self._table_name = table
        self._table: sa.Table | None = None
        self._progress = sa.Table(
            PROGRESS,
            sa.MetaData(),
            sa.Column("output", sa.String(200), primary_key=True),
            sa.Column("task", sa.String(64), nullable=False),
            sa.Column("cut", sa.BigInteger, nullable=False),
        )
        self._cut = 0
        self._waiting: list[pa.Table] = []
        self._empty: pa.Table | None = None

    def resume(self, task: str) -> int:
        mine = self._progress.c.output == self._table_name
        with self._failing(), self._engine.begin() as connection:
            self._progress.create(connection, checkfirst=True)
            found = connection.execute(sa.select(self._progress.c.task, self._progress.c.cut).where(mine)).first()
            is_there = sa.inspect(connection).has_table(self._table_name)
            if found is None:
                if is_there:
                    raise DataError(f"{self.name}: the table is there already; name another, or drop it")
                connection.execute(self._progress.insert(), {"output": self._table_name, "task": task, "cut": 0})
            elif found.task != task:
                advice = f"name another table, or drop it and its row of {PROGRESS}"
                raise DataError(f"{self.name}: holds results of another replay; {advice}")
            self._cut = 0 if found is None else int(found.cut)
            if is_there:
                self._table = sa.Table(self._table_name, sa.MetaData(), autoload_with=connection)
        self._is_open = True
        return self._cut

    def commit(self, cut: int, *, is_last: bool) -> None:
        waiting, self._waiting = self._waiting, []
        if cut <= self._cut:
            return
        rows = flatten(concat(waiting)) if waiting else None
        if rows is None and is_last and self._table is None and self._empty is not None:
            rows = flatten(self._empty)
        mine = self._progress.c.output == self._table_name
        with self._failing(), self._engine.begin() as connection:
            if rows is not None:
                if self._table is None:
                    self._table = self._make(connection, rows.schema)
                held = align(rows, _arrow_schema(self._table), self.name)
                for batch in held.to_batches(max_chunksize=_ROWS_PER_INSERT):
                    connection.execute(self._table.insert(), batch.to_pylist())
            connection.execute(self._progress.update().where(mine).values(cut=cut))
        self._cut = cut

    def _make(self, connection: sa.Connection, schema: pa.Schema) -> sa.Table:
        columns: list[sa.Column[Any]] = [sa.Column(field.name, _sql_type(field.type)) for field in schema]
        table = sa.Table(self._table_name, sa.MetaData(), *columns)
        table.create(connection, checkfirst=True)
        return table

    def _write(self, table: pa.Table) -> None:
        if table.num_rows:
            self._waiting.append(table)
        else:
            self._empty = table

    def _flush(self) -> None:
        """Rows come in with the cut that they belong to, and not before."""

    def _close(self) -> None:
        self._engine.dispose()

    def _failing(self) -> "_Failing":
        return _Failing(self.name)


class _Failing:
    """Turns what a database refuses into an error that names the table."""

    def __init__(self, name: str) -> None:
        self._name = name

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if isinstance(error, sa.exc.SQLAlchemyError):
            raise DataError(f"{self._name}: {getattr(error, 'orig', None) or error}") from error


def _sql_type(kind: pa.DataType) -> Any:
    if pa.types.is_boolean(kind):
        return sa.Boolean()
    if pa.types.is_integer(kind):
        return sa.BigInteger()
    return sa.Double() if pa.types.is_floating(kind) else sa.Text()


def _arrow_schema(table: sa.Table) -> pa.Schema:
    def arrow(kind: Any) -> pa.DataType:
        if isinstance(kind, sa.Boolean):
            return pa.bool_()
        if isinstance(kind, sa.Integer):
            return pa.int64()
        return pa.float64() if isinstance(kind, sa.Numeric) else pa.string()

    return pa.schema([(column.name, arrow(column.type)) for column in table.columns])


__all__ = ["PROGRESS", "SqlSink"]
