"""Alembic's environment: runs inside the transaction that `router.db.migrate` opened."""

from alembic import context

import router.accounts.models
import router.attribution.models
import router.carriers.models
import router.integrations.models
import router.scenarios.models
import router.voice.models  # noqa: F401 - every module of tables, so that their metadata is whole
from router.db import Base

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=Base.metadata,
    render_as_batch=False,
    transactional_ddl=True,
)
with context.begin_transaction():
    context.run_migrations()
