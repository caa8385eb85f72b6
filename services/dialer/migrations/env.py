"""Alembic's entry: eventkit.postgres.migrate gives the connection, its transaction and its lock."""

from alembic import context

from services.dialer.tables import metadata

context.configure(connection=context.config.attributes["connection"], target_metadata=metadata)
context.run_migrations()
