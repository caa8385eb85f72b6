"""Knowledge: articles, their versions and words, and the calls in which they helped.

Revision ID: 0006
Revises: 0005
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import ARRAY, TSVECTOR

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None

# Without accents: of Latin letters only, since in Cyrillic they make other letters (й is no и).
FOLD = r"""
CREATE FUNCTION knowledge_fold(_text text) RETURNS text
LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE AS $$
SELECT replace(replace(replace(replace(replace(translate(
    normalize(regexp_replace(normalize(_text, NFKD), '([A-Za-z])[\u0300-\u036f]+', '\1', 'g'), NFC),
    'ёЁøØłŁđĐ', 'еЕoOlLdD'), 'œ', 'oe'), 'Œ', 'OE'),
    'æ', 'ae'), 'Æ', 'AE'), 'ß', 'ss')
$$
"""  # noqa: RUF001 (these are Cyrillic letters)

# Each word in three forms at one position: the stem of the word without accents, the stem of the
# word as it is (résilié, résiliation: résili) without accents, and the word itself, for prefixes.
WORDS = """
CREATE FUNCTION knowledge_words(_configuration regconfig, _text text) RETURNS tsvector
LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE AS $$
SELECT concat_ws(' ',
    to_tsvector(_configuration, knowledge_fold(_text))::text,
    knowledge_fold(to_tsvector(_configuration, normalize(_text, NFKC))::text),
    to_tsvector('simple', knowledge_fold(_text))::text
)::tsvector
$$
"""

# What is looked for, in the same forms. Stop words alone are looked for by nobody.
QUERY = """
CREATE FUNCTION knowledge_query(_configuration regconfig, _text text, _prefix boolean)
RETURNS tsquery LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE AS $$
SELECT CASE WHEN numnode(stem) = 0 OR NOT _prefix THEN stem
    ELSE stem || (phraseto_tsquery('simple', knowledge_fold(_text))::text || ':*')::tsquery END
FROM (
    SELECT CASE WHEN bare = folded THEN bare ELSE bare || folded END
    FROM (SELECT phraseto_tsquery(_configuration, knowledge_fold(_text)),
        knowledge_fold(phraseto_tsquery(_configuration, normalize(_text, NFKC))::text)::tsquery
    ) AS form (bare, folded)
) AS query (stem)
$$
"""


def upgrade() -> None:
    for function in (FOLD, WORDS, QUERY):
        op.execute(function)
    op.create_table(
        "knowledge_articles",
        sa.Column("client_id", sa.Text, primary_key=True),
        sa.Column("article_id", sa.Text, primary_key=True),
        sa.Column("kind", sa.Text, nullable=False),
        sa.Column("language", sa.Text, nullable=False),
        sa.Column("title", sa.Text, nullable=False),
        sa.Column("draft", sa.Integer),
        sa.Column("published", sa.Integer),
        sa.Column("withdrawn", sa.Boolean, nullable=False),
        sa.Column("helped", sa.BigInteger, nullable=False),
    )
    op.create_index("knowledge_articles_by_helped", "knowledge_articles", ["client_id", "helped"])
    op.create_index(
        "knowledge_articles_by_language", "knowledge_articles", ["client_id", "language"]
    )
    op.create_table(
        "knowledge_versions",
        sa.Column("client_id", sa.Text, primary_key=True),
        sa.Column("article_id", sa.Text, primary_key=True),
        sa.Column("version", sa.Integer, primary_key=True),
        sa.Column("kind", sa.Text, nullable=False),
        sa.Column("language", sa.Text, nullable=False),
        sa.Column("title", sa.Text, nullable=False),
        sa.Column("body", sa.Text, nullable=False),
        sa.Column("tags", ARRAY(sa.Text), nullable=False),
        sa.Column("valid_from", sa.Date),
        sa.Column("valid_until", sa.Date),
        sa.Column("published_at", sa.BigInteger),
        sa.Column("starts_at", sa.BigInteger),
        sa.Column("ends_at", sa.BigInteger),
        sa.Column("superseded_at", sa.BigInteger),
        sa.Column("withdrawn_at", sa.BigInteger),
        sa.Column("heading", TSVECTOR),
        sa.Column("words", TSVECTOR),
    )
    for column in ("heading", "words"):
        op.create_index(
            f"knowledge_versions_by_{column}",
            "knowledge_versions",
            [column],
            postgresql_using="gin",
            postgresql_with={"fastupdate": "off"},
        )
    op.create_table(
        "knowledge_helped",
        sa.Column("client_id", sa.Text, primary_key=True),
        sa.Column("article_id", sa.Text, primary_key=True),
        sa.Column("call_id", sa.Text, primary_key=True),
        sa.Column("version", sa.Integer, nullable=False),
    )


def downgrade() -> None:
    for table in ("helped", "versions", "articles"):
        op.drop_table(f"knowledge_{table}")
    op.execute("DROP FUNCTION knowledge_query")
    op.execute("DROP FUNCTION knowledge_words")
    op.execute("DROP FUNCTION knowledge_fold")
