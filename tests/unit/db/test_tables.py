"""What the text of a schema says of its tables is what the engines make of it."""

from cardtrail.db.tables import parted, tables_of
from cardtrail.platform.store import schema
from tests.desk import connected, desk

KINDS = {"TEXT": str, "BIGINT": int, "BYTEA": bytes}


def test_every_table_and_column_is_found_as_the_engine_has_it(database_url: str) -> None:
    with desk(database_url) as site:
        assert sorted(table.name for table in tables_of(schema())) == site.run(site.db.read(lambda tx: tx.tables()))
    with connected(database_url) as run:
        for table in tables_of(schema()):
            if database_url.startswith("sqlite"):
                rows = [row[1:3] for row in run(f"PRAGMA table_info({table.name})")]
            else:
                rows = run(
                    "SELECT column_name, upper(data_type) FROM information_schema.columns"  # noqa: S608 - our own
                    f" WHERE table_name = '{table.name}' AND table_schema = 'public' ORDER BY ordinal_position"
                )
            assert [(name, KINDS[kind]) for name, kind in rows] == list(table.columns.items())
            assert set(table.key) <= set(table.columns)
            assert table.key


def test_a_schema_is_parted_into_what_is_made_before_the_rows_and_after() -> None:
    tables, indexes = parted(schema())
    assert "CREATE INDEX" not in tables
    assert "TRIGGER" in tables
    assert indexes.count("CREATE ") == indexes.count("INDEX") == schema().count("INDEX")
