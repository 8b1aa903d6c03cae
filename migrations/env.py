"""Alembic's environment: on the connection that it is given, or as plain SQL without one."""

from alembic import context

config = context.config
options = {"version_table": config.attributes["version_table"], "transaction_per_migration": False}

if context.is_offline_mode():
    # Named by its driver, whose parameter style needs no doubling of percent signs.
    context.configure(url="postgresql+asyncpg://", **options)
else:
    context.configure(
        connection=config.attributes["connection"], on_version_apply=config.attributes["applied"], **options
    )

with context.begin_transaction():
    context.run_migrations()
