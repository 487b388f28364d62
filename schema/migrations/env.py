"""Alembic's entry: runs migrations on the connection `fakesweep.schema.migrations` hands over."""

from alembic import context

connection = context.config.attributes["connection"]
context.configure(connection=connection, version_table="alembic_version")
with context.begin_transaction():
    context.run_migrations()
