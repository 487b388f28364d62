"""Alembic's entry point: runs migrations on the connection of `fakesweep.schema.migrations`."""

from alembic import context

connection = context.config.attributes["connection"]
context.configure(connection=connection, version_table="alembic_version")
with context.begin_transaction():
    context.run_migrations()
