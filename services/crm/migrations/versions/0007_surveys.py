"""Surveys and scripts: questionnaires, their versions, surveys and their answers.

Revision ID: 0007
Revises: 0006
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import ARRAY, JSONB

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "questionnaires",
        sa.Column("client_id", sa.Text, primary_key=True),
        sa.Column("questionnaire_id", sa.Text, primary_key=True),
        sa.Column("purpose", sa.Text, nullable=False),
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("draft", sa.Integer),
        sa.Column("published", sa.Integer),
        sa.Column("withdrawn", sa.Boolean, nullable=False),
    )
    op.create_table(
        "questionnaire_versions",
        sa.Column("client_id", sa.Text, primary_key=True),
        sa.Column("questionnaire_id", sa.Text, primary_key=True),
        sa.Column("version", sa.Integer, primary_key=True),
        sa.Column("content", JSONB, nullable=False),
        sa.Column("published_at", sa.BigInteger),
    )
    op.create_table(
        "surveys",
        sa.Column("client_id", sa.Text, primary_key=True),
        sa.Column("survey_id", sa.Text, primary_key=True),
        sa.Column("questionnaire_id", sa.Text, nullable=False),
        sa.Column("questionnaire_version", sa.Integer, nullable=False),
        sa.Column("customer_id", sa.Text, nullable=False),
        sa.Column("call_id", sa.Text, nullable=False),
        sa.Column("agent_id", sa.Text, nullable=False),
        sa.Column("language", sa.Text, nullable=False),
        sa.Column("status", sa.Text, nullable=False),
        sa.Column("current", sa.Text, nullable=False),
        sa.Column("reason", sa.Text),
        sa.Column("started_at", sa.BigInteger, nullable=False),
        sa.Column("ended_at", sa.BigInteger),
    )
    op.create_index(
        "surveys_by_questionnaire",
        "surveys",
        ["client_id", "questionnaire_id", "questionnaire_version", "survey_id"],
    )
    op.create_index("surveys_by_customer", "surveys", ["client_id", "customer_id", "survey_id"])
    op.create_index("surveys_by_call", "surveys", ["client_id", "call_id", "survey_id"])
    op.create_table(
        "survey_answers",
        sa.Column("client_id", sa.Text, primary_key=True),
        sa.Column("survey_id", sa.Text, primary_key=True),
        sa.Column("question_id", sa.Text, primary_key=True),
        sa.Column("options", ARRAY(sa.Text), nullable=False),
        sa.Column("number", sa.Numeric),
        sa.Column("day", sa.Date),
        sa.Column("text", sa.Text),
        sa.Column("answered_at", sa.BigInteger, nullable=False),
    )


def downgrade() -> None:
    for table in ("survey_answers", "surveys", "questionnaire_versions", "questionnaires"):
        op.drop_table(table)
