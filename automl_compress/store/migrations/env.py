"""Runs the migrations on the connection that `schema.upgrade` hands over."""

from alembic import context

from automl_compress.store.schema import VERSION_TABLE
from automl_compress.store.tables import Table

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=Table.metadata,
    version_table=VERSION_TABLE,
    transactional_ddl=True,  # SQLite's driver is in autocommit mode; the transaction is ours
    render_as_batch=True,
)
context.run_migrations()
