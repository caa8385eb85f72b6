"""Interactions: calls, notes, answers to offers, articles that helped, timelines; who refused what.

Revision ID: 0004
Revises: 0003
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import ARRAY, JSONB

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

_ORDERED = sa.Text(collation="C")
_GROUPS = (
    "arrival",
    "arrived",
    "queue",
    "agent",
    "connected",
    "abandoned",
    "ended",
    "wrapped_up",
)

# All that one person has answered to an offer, under every record and number of theirs.
PERSON_ANSWERS = """
CREATE FUNCTION person_answers(_client text, _customer text, _offer text)
RETURNS SETOF offer_answers LANGUAGE sql STABLE AS $$
    SELECT a.*
    FROM (
        SELECT customer_id AS reference FROM customers
        WHERE client_id = _client AND customer_id = _customer
        UNION ALL
        SELECT number FROM customers
        WHERE client_id = _client AND customer_id = _customer AND number <> ''
        UNION ALL
        SELECT customer_id FROM customers
        WHERE client_id = _client AND survivor_id = _customer AND merged_into IS NOT NULL
        UNION ALL
        SELECT number FROM customers
        WHERE client_id = _client AND survivor_id = _customer AND merged_into IS NOT NULL
        AND number <> ''
    ) AS known
    JOIN calls AS c ON c.client_id = _client AND c.reference = known.reference
    JOIN offer_answers AS a
        ON a.client_id = _client AND a.call_id = c.call_id AND a.offer_id = _offer
$$
"""

# Each OFFSET 0 keeps the planner from making a join of what is one look into an index for each
# refusal that is shown: a page of the list must not read all that was ever refused. The collation
# is that of the index of numbers.
REFUSALS = """
CREATE VIEW refusals AS
SELECT a.client_id, a.offer_id, a.reason, who.customer_id, a.not_before, a.text,
    timestamptz 'epoch' + a.answered_at * interval '1 microsecond' AS refused_at,
    a.call_id, a.agent_id, a.answered_at
FROM offer_answers AS a
CROSS JOIN LATERAL (
    SELECT c.reference FROM calls AS c
    WHERE c.client_id = a.client_id AND c.call_id = a.call_id
    OFFSET 0
) AS call
CROSS JOIN LATERAL (
    SELECT coalesce(
        (SELECT survivor_id FROM customers AS c
         WHERE c.client_id = a.client_id AND c.customer_id = call.reference
         AND c.erased_at IS NULL),
        (SELECT c.survivor_id FROM customer_numbers AS n
         JOIN customers AS c ON c.client_id = n.client_id AND c.customer_id = n.customer_id
         WHERE n.client_id = a.client_id AND n.number = call.reference COLLATE "default"
         AND c.erased_at IS NULL)
    ) AS customer_id
    OFFSET 0
) AS who
WHERE NOT a.accepted AND who.customer_id IS NOT NULL
AND NOT EXISTS (
    SELECT FROM person_answers(a.client_id, who.customer_id, a.offer_id) AS later
    WHERE later.accepted AND later.answered_at > a.answered_at
    OFFSET 0
)
"""


def upgrade() -> None:
    op.create_table(
        "calls",
        sa.Column("client_id", sa.Text, primary_key=True),
        sa.Column("call_id", _ORDERED, primary_key=True),
        sa.Column("first_at", sa.BigInteger, nullable=False),
        sa.Column("version", sa.BigInteger, nullable=False, server_default="0"),
        sa.Column("channel", sa.Text),
        sa.Column("direction", sa.Text),
        sa.Column("line", sa.Text),
        sa.Column("customer_reference", sa.Text),
        sa.Column("arrived_at", sa.BigInteger),
        sa.Column("queue_id", sa.Text),
        sa.Column("agent_id", sa.Text),
        sa.Column("connected_at", sa.BigInteger),
        sa.Column("answered_after_us", sa.BigInteger),
        sa.Column("abandoned_at", sa.BigInteger),
        sa.Column("abandoned_after_us", sa.BigInteger),
        sa.Column("ended_at", sa.BigInteger),
        sa.Column("end_cause", sa.Text),
        sa.Column("talked_us", sa.BigInteger),
        sa.Column("wrapped_up_at", sa.BigInteger),
        sa.Column("wrap_up_us", sa.BigInteger),
        *(
            sa.Column(f"{group}_version", sa.BigInteger, nullable=False, server_default="0")
            for group in _GROUPS
        ),
        sa.Column("customer_id", sa.Text),
        sa.Column("topic_path", ARRAY(sa.Text)),
        sa.Column("disposition", sa.Text),
        sa.Column(
            "reference",
            _ORDERED,
            sa.Computed("coalesce(customer_id, nullif(customer_reference, ''))", persisted=True),
        ),
        sa.Column(
            "at", sa.BigInteger, sa.Computed("coalesce(arrived_at, first_at)", persisted=True)
        ),
        sa.Column(
            "outcome",
            sa.Text,
            sa.Computed(
                "CASE WHEN connected_at IS NOT NULL THEN 'answered'"
                " WHEN abandoned_at IS NOT NULL THEN 'abandoned'"
                " WHEN end_cause IN ('left-before-queue', 'phantom') THEN end_cause END",
                persisted=True,
            ),
        ),
        sa.Column(
            "waited_us",
            sa.BigInteger,
            sa.Computed("coalesce(answered_after_us, abandoned_after_us)", persisted=True),
        ),
    )
    op.create_index("calls_by_reference", "calls", ["client_id", "reference", "at", "call_id"])
    op.create_table(
        "call_notes",
        sa.Column("client_id", sa.Text, primary_key=True),
        sa.Column("call_id", sa.Text, primary_key=True),
        sa.Column("note_id", sa.Text, primary_key=True),
        sa.Column("text", sa.Text, nullable=False),
        sa.Column("agent_id", sa.Text, nullable=False),
        sa.Column("written_at", sa.BigInteger, nullable=False),
        sa.Column("edited_by", sa.Text),
        sa.Column("edited_at", sa.BigInteger),
    )
    op.create_table(
        "offer_answers",
        sa.Column("client_id", sa.Text, primary_key=True),
        sa.Column("call_id", _ORDERED, primary_key=True),
        sa.Column("offer_id", sa.Text, primary_key=True),
        sa.Column("accepted", sa.Boolean, nullable=False),
        sa.Column("reason", sa.Text, nullable=False),
        sa.Column("not_before", sa.Date),
        sa.Column("text", sa.Text, nullable=False),
        sa.Column("agent_id", sa.Text, nullable=False),
        sa.Column("answered_at", sa.BigInteger, nullable=False),
    )
    op.create_index(
        "offer_answers_refused",
        "offer_answers",
        ["client_id", "offer_id", "answered_at", "call_id"],
        postgresql_where=sa.text("NOT accepted"),
    )
    op.create_index(
        "offer_answers_refused_for",
        "offer_answers",
        ["client_id", "offer_id", "reason", "answered_at", "call_id"],
        postgresql_where=sa.text("NOT accepted"),
    )
    op.create_table(
        "call_articles",
        sa.Column("client_id", sa.Text, primary_key=True),
        sa.Column("call_id", sa.Text, primary_key=True),
        sa.Column("article_id", sa.Text, primary_key=True),
        sa.Column("article_version", sa.Integer, nullable=False),
        sa.Column("agent_id", sa.Text, nullable=False),
        sa.Column("helped_at", sa.BigInteger, nullable=False),
    )
    op.create_table(
        "unknown_call_events",
        sa.Column("client_id", sa.Text, primary_key=True),
        sa.Column("call_id", sa.Text, primary_key=True),
        sa.Column("version", sa.BigInteger, primary_key=True),
        sa.Column("event", sa.LargeBinary, nullable=False),
    )
    op.create_table(
        "timeline_entries",
        sa.Column("client_id", sa.Text, primary_key=True),
        sa.Column("kind", _ORDERED, primary_key=True),
        sa.Column("id", _ORDERED, primary_key=True),
        sa.Column("reference", sa.Text, nullable=False),
        sa.Column("at", sa.BigInteger, nullable=False),
        sa.Column("details", JSONB, nullable=False),
    )
    op.create_index(
        "timeline_entries_by_reference",
        "timeline_entries",
        ["client_id", "reference", "at", "kind", "id"],
    )
    for statement in (PERSON_ANSWERS, REFUSALS):
        op.execute(statement)


def downgrade() -> None:
    op.execute("DROP VIEW refusals")
    op.execute("DROP FUNCTION person_answers")
    for table in (
        "timeline_entries",
        "unknown_call_events",
        "call_articles",
        "offer_answers",
        "call_notes",
        "calls",
    ):
        op.drop_table(table)
