"""The one MetaData of orders's read models; each capability's `store.py` adds its tables to it.

Alembic's migrations/versions make them; a test compares the two.
"""

from sqlalchemy import MetaData

from eventkit.followers import subscribers_table

metadata = MetaData()
subscribers_table(metadata)
