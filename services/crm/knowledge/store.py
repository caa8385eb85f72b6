"""Articles as tables: their versions, how to find them, and how often each has helped.

Nothing here is personal. Times are microseconds since 1970; a null end is open.
"""

import re
import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import reduce
from typing import Any, Final

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import (
    ARRAY,
    REGCONFIG,
    TSQUERY,
    TSVECTOR,
    array,
    distinct_on,
    insert,
)
from sqlalchemy.ext.asyncio import AsyncConnection

from eventkit.eventstore import Change, Recorded
from services.crm.knowledge.article import (
    Article,
    ArticleDrafted,
    ArticlePublished,
    ArticleWithdrawn,
    Event,
)
from services.crm.knowledge.search import (
    Query,
    Snippet,
    Term,
    configuration,
    fold,
    snippet,
)
from services.crm.tables import metadata

articles = sa.Table(
    "knowledge_articles",
    metadata,
    sa.Column("client_id", sa.Text, primary_key=True),
    sa.Column("article_id", sa.Text, primary_key=True),
    sa.Column("kind", sa.Text, nullable=False),
    sa.Column("language", sa.Text, nullable=False),
    sa.Column("title", sa.Text, nullable=False),
    sa.Column("draft", sa.Integer),
    sa.Column("published", sa.Integer),
    sa.Column("withdrawn", sa.Boolean, nullable=False),
    sa.Column("helped", sa.BigInteger, nullable=False),
    sa.Index("knowledge_articles_by_helped", "client_id", "helped"),
    sa.Index("knowledge_articles_by_language", "client_id", "language"),
)
"""title: of the last version that was published, of the draft before that. draft: the version that
is being written. published: the last that was. helped: calls, of all versions."""

versions = sa.Table(
    "knowledge_versions",
    metadata,
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
    sa.Index(
        "knowledge_versions_by_heading",
        "heading",
        postgresql_using="gin",
        postgresql_with={"fastupdate": "off"},
    ),
    sa.Index(
        "knowledge_versions_by_words",
        "words",
        postgresql_using="gin",
        postgresql_with={"fastupdate": "off"},
    ),
)
"""A draft has no published_at and cannot be searched. In force: from starts_at until the first of
ends_at (after the last valid day), superseded_at (a later version's start), withdrawn_at.
heading: title (A) and tags (B). words: those and the body (D). Both also have the client and the
language as a word of their own, so that one index finds the words of one client."""

helped = sa.Table(
    "knowledge_helped",
    metadata,
    sa.Column("client_id", sa.Text, primary_key=True),
    sa.Column("article_id", sa.Text, primary_key=True),
    sa.Column("call_id", sa.Text, primary_key=True),
    sa.Column("version", sa.Integer, nullable=False),
)


Row = dict[str, Any]

# Writing.


async def project(connection: AsyncConnection, changes: Sequence[Change[Article, Event]]) -> None:
    """Bring the tables up to date."""
    for change in changes:
        for recorded in change.events:
            await _project_one(connection, change, recorded)


async def _project_one(
    connection: AsyncConnection, change: Change[Article, Event], recorded: Recorded[Event]
) -> None:
    key = {"client_id": change.client_id, "article_id": change.id}
    the_article = [articles.c[name] == value for name, value in key.items()]
    of_it = [versions.c[name] == value for name, value in key.items()]
    assert change.after.content is not None
    language = change.after.content.language
    match recorded.event:
        case ArticleDrafted(version, content):
            about = {"kind": content.kind.value, "language": content.language}
            said = about | {
                "title": content.title,
                "body": content.body,
                "tags": list(content.tags),
                "valid_from": content.valid_from,
                "valid_until": content.valid_until,
            }
            await connection.execute(
                insert(versions)
                .values(**key, version=version, **said)
                .on_conflict_do_update(
                    index_elements=["client_id", "article_id", "version"], set_=said
                )
            )
            first = about | {"title": content.title}
            await connection.execute(
                insert(articles)
                .values(**key, **first, draft=version, withdrawn=False, helped=0)
                .on_conflict_do_update(
                    index_elements=["client_id", "article_id"],
                    set_={"draft": version, **(first if version == 1 else {})},
                )
            )
        case ArticlePublished(version, starts_at, ends_at):
            await connection.execute(
                sa.update(versions)
                .where(*of_it, versions.c.version == version)
                .values(
                    published_at=recorded.occurred_at,
                    starts_at=starts_at,
                    ends_at=ends_at,
                    **searchable(language),
                )
            )
            await connection.execute(
                sa.update(versions)
                .where(*of_it, versions.c.version < version)
                .values(superseded_at=sa.func.least(versions.c.superseded_at, starts_at))
            )
            await connection.execute(
                sa.update(articles)
                .where(
                    *the_article,
                    versions.c.client_id == articles.c.client_id,
                    versions.c.article_id == articles.c.article_id,
                    versions.c.version == version,
                )
                .values(
                    kind=versions.c.kind,
                    title=versions.c.title,
                    draft=None,
                    published=version,
                    withdrawn=False,
                )
            )
        case ArticleWithdrawn():
            await connection.execute(
                sa.update(versions)
                .where(
                    *of_it,
                    versions.c.published_at.is_not(None),
                    versions.c.withdrawn_at.is_(None),
                )
                .values(withdrawn_at=recorded.occurred_at)
            )
            await connection.execute(sa.update(articles).where(*the_article).values(withdrawn=True))


def searchable(language: str) -> dict[str, sa.ColumnElement[Any]]:
    """What a row of `versions` in this language is found by: the columns to be set."""
    heading = _heading(language)
    return {
        "heading": heading,
        "words": heading.op("||")(_weighted(language, versions.c.body, "D")),
    }


def _heading(language: str) -> sa.ColumnElement[Any]:
    """Of a row of `versions`: where it belongs, its title and its tags."""
    # No word that PostgreSQL finds in a text begins with a blank: none can pretend to be this.
    scope = sa.func.array_to_tsvector(
        array([sa.func.concat(" ", versions.c.client_id, "/", language)])
    )
    tags = sa.func.array_to_string(versions.c.tags, " ")
    return scope.op("||")(_weighted(language, versions.c.title, "A")).op("||")(
        _weighted(language, tags, "B")
    )


def _weighted(language: str, text: Any, weight: str) -> sa.ColumnElement[Any]:
    words = sa.func.knowledge_words(_configuration(language), text)
    return sa.func.setweight(words, sa.literal_column(f"'{weight}'"), type_=TSVECTOR)


def _configuration(language: str) -> sa.ColumnElement[Any]:
    return sa.cast(configuration(language), REGCONFIG)


def in_force(at: int) -> sa.ColumnElement[bool]:
    """Whether a version is what holds at this time."""
    over = sa.func.least(versions.c.ends_at, versions.c.superseded_at, versions.c.withdrawn_at)
    return sa.and_(versions.c.starts_at <= at, sa.or_(over.is_(None), over > at))


async def article_version(
    connection: AsyncConnection, client_id: str, article_id: str
) -> int | None:
    """The version that an agent reads now: the one in force or, where none is (expired, not yet
    valid), the last that was published. None: no such article, or it is withdrawn."""
    now = time.time_ns() // 1000
    found: int | None = await connection.scalar(
        sa.select(versions.c.version)
        .where(
            versions.c.client_id == client_id,
            versions.c.article_id == article_id,
            versions.c.published_at.is_not(None),
            versions.c.withdrawn_at.is_(None),
        )
        .order_by(in_force(now).desc(), versions.c.version.desc())
        .limit(1)
    )
    return found


async def count_helped(
    connection: AsyncConnection, client_id: str, article_id: str, version: int, call_id: str
) -> bool:
    """An article helped in a call: counted once for the two, in the caller's transaction.

    False: it has been counted before, whatever the version was.
    """
    counted = await connection.execute(
        insert(helped)
        .values(client_id=client_id, article_id=article_id, call_id=call_id, version=version)
        .on_conflict_do_nothing()
    )
    if counted.rowcount == 0:
        return False
    await connection.execute(
        sa.update(articles)
        .where(articles.c.client_id == client_id, articles.c.article_id == article_id)
        .values(helped=articles.c.helped + 1)
    )
    return True


# Reading.

CANDIDATES: Final = 300
"""How many versions with the words somewhere are ranked, and how many with them in the heading: a
word that more articles have says little about any of them."""
HELPFUL: Final = 300
"""How many of the articles that have helped most are ranked, whenever they have the words."""
DAY_US: Final = 86_400_000_000
WEIGHTS: Final[sa.ColumnElement[Any]] = sa.literal_column("'{0.3, 0.3, 0.6, 1.0}'::real[]")
MARK, UNMARK = "\x02", "\x03"
"""Control characters, which no article has."""


@dataclass(frozen=True, slots=True)
class Found:
    """row: the columns of `versions` but the body, `in_force`, `helped` and `score`.
    all_words: whether it has all that was looked for, or only some of it."""

    row: Row
    title: Snippet
    body: Snippet
    all_words: bool


@dataclass(frozen=True, slots=True)
class Filter:
    """Among which articles to look. at: microseconds since 1970; what is in force then, and with
    `any_validity` what is no longer or not yet, too. language None: all."""

    client_id: str
    at: int
    language: str | None = None
    kind: str | None = None
    tag: str | None = None
    any_validity: bool = False


async def search(
    connection: AsyncConnection, query: Query, where: Filter, limit: int
) -> list[Found]:
    """The best first: those with all the words or, where there are none, those with some."""
    languages = (
        [where.language]
        if where.language
        else list(
            await connection.scalars(
                sa.select(articles.c.language)
                .where(articles.c.client_id == where.client_id)
                .distinct()
            )
        )
    )
    if not languages:
        return []
    for all_words in (True, False):
        rows = await connection.execute(_best(query, where, languages, limit, all_words))
        if found := [_found(row, all_words) for row in rows.mappings()]:
            return found
    return []


def _best(
    query: Query, where: Filter, languages: Sequence[str], limit: int, all_words: bool
) -> sa.Select[Any]:
    asked = _asked(query, where.client_id, languages, all_words)
    v, a = versions, articles
    now = in_force(where.at)
    eligible = [v.c.client_id == where.client_id, v.c.withdrawn_at.is_(None), now]
    if where.any_validity:
        later = sa.or_(v.c.superseded_at.is_(None), v.c.superseded_at > where.at)
        eligible[-1] = sa.and_(v.c.published_at.is_not(None), later)
    if where.kind:
        eligible.append(v.c.kind == where.kind)
    if where.tag:
        eligible.append(v.c.tags.contains([where.tag]))

    key = (v.c.article_id, v.c.version, asked.c.language)
    candidates = [
        sa.select(*key).join_from(asked, v, column.op("@@")(asked.c.scoped)).where(*eligible)
        for column in (v.c.heading, v.c.words)
    ]
    helpful = (
        sa.select(a.c.article_id)
        .where(a.c.client_id == where.client_id, a.c.helped > 0)
        .order_by(a.c.helped.desc())
        .limit(HELPFUL)
        .subquery()
    )
    proven = (
        sa.select(*key)
        .join_from(helpful, v, v.c.article_id == helpful.c.article_id)
        .join(asked, v.c.language == asked.c.language)
        # Not by the index of words: these few are found faster by their ids than among all others.
        .where(*eligible, v.c.words.op("@@")(asked.c.query).is_(sa.true()))
    )
    found = sa.union(*(part.limit(CANDIDATES) for part in candidates), proven).subquery()

    # The heading counts by how much of the question it has, and a little more where it has the
    # very words; the text by how near to each other the words are.
    heading = 1.5 * sa.func.ts_rank(WEIGHTS, v.c.heading, asked.c.any) + 0.3 * sa.func.ts_rank(
        WEIGHTS, v.c.heading, asked.c.exact
    )
    rank = (
        sa.func.ts_rank_cd(WEIGHTS, v.c.words, asked.c.query, 1 | 32)
        if all_words
        else sa.func.ts_rank(WEIGHTS, v.c.words, asked.c.any, 1 | 32)
    )
    age = sa.func.greatest(where.at - v.c.published_at, 0) / (180.0 * DAY_US)
    score = (
        (heading + rank)
        * (1 + 0.1 * sa.func.ln(1 + a.c.helped))
        * (1 + 0.1 * sa.func.exp(-age))
        * sa.case((now, 1.0), else_=0.5)
    )
    # What is excluded may be in the text of an article whose heading was found.
    excluding = [v.c.words.op("@@")(asked.c.query)] if query.excludes else []
    ranked = (
        sa.select(
            v.c.article_id,
            v.c.version,
            a.c.helped,
            asked.c.configuration,
            asked.c.any,
            score.label("score"),
            now.label("in_force"),
        )
        .join_from(found, asked, asked.c.language == found.c.language)
        .join(
            v,
            sa.and_(
                v.c.client_id == where.client_id,
                v.c.article_id == found.c.article_id,
                v.c.version == found.c.version,
            ),
        )
        .join(a, sa.and_(a.c.client_id == where.client_id, a.c.article_id == found.c.article_id))
        .where(*excluding)
        # One version of each article: the one in force, or the latest.
        .ext(distinct_on(v.c.article_id))
        .order_by(v.c.article_id, now.desc(), v.c.version.desc())
        .subquery()
    )
    best = (
        sa.select(ranked).order_by(ranked.c.score.desc(), ranked.c.article_id).limit(limit)
    ).subquery()
    # What is shown is read, and its words are marked, of the best only.
    return (
        sa.select(
            *(column for column in v.c if column.name not in ("heading", "words")),
            best.c.helped,
            best.c.score,
            best.c.in_force,
            sa.literal(where.at, sa.BigInteger).label("asked_at"),
            *_marked(best),
        )
        .join_from(
            best,
            v,
            sa.and_(
                v.c.client_id == where.client_id,
                v.c.article_id == best.c.article_id,
                v.c.version == best.c.version,
            ),
        )
        .order_by(best.c.score.desc(), best.c.article_id)
    )


def _asked(query: Query, client_id: str, languages: Sequence[str], all_words: bool) -> sa.CTE:
    """A row for each language: what is looked for there, in that language's stems.

    query: what must be there. scoped: the same among the client's articles in the language.
    any: each word that is wanted, by itself. exact: the same, just as they were typed.
    """
    # Arrays, and no VALUES of so many rows: the statement stays the same, and is compiled once.
    given = (
        sa.func.unnest(_texts(languages), _texts([configuration(one) for one in languages]))
        .table_valued("language", "configuration", name="given")
        .render_derived()
    )
    config = sa.cast(given.c.configuration, REGCONFIG)

    def of(term: Term) -> sa.ColumnElement[Any]:
        found = sa.func.knowledge_query(config, term.text, term.prefix, type_=TSQUERY)
        return sa.func.tsquery_not(found) if term.excluded else found

    def exactly(term: Term) -> sa.ColumnElement[Any]:
        return sa.func.phraseto_tsquery("simple", sa.func.knowledge_fold(term.text), type_=TSQUERY)

    def all_of(terms: Sequence[Term]) -> sa.ColumnElement[Any]:
        return reduce(sa.func.tsquery_and, map(of, terms))

    def some_of(terms: Sequence[Term]) -> sa.ColumnElement[Any]:
        """Still every phrase, and nothing that is excluded; of the words any or, where there is a
        phrase, none."""
        words = [of(term) for term in terms if not (term.phrase or term.excluded)]
        phrases = [of(term) for term in terms if term.phrase and not term.excluded]
        excluded = [of(term) for term in terms if term.excluded]
        wanted = phrases or [reduce(sa.func.tsquery_or, words)]
        return reduce(sa.func.tsquery_and, wanted + excluded)

    required = all_of if all_words else some_of
    built = (
        sa.select(
            given.c.language,
            given.c.configuration,
            reduce(sa.func.tsquery_or, map(required, query.alternatives)).label("query"),
            reduce(sa.func.tsquery_or, map(of, query.wanted)).label("any"),
            reduce(sa.func.tsquery_or, map(exactly, query.wanted)).label("exact"),
        )
        .select_from(given)
        .subquery()
    )
    scope = sa.cast(sa.func.concat("' ", client_id, "/", built.c.language, "'"), TSQUERY)
    return (
        sa.select(built, sa.func.tsquery_and(scope, built.c.query, type_=TSQUERY).label("scoped"))
        .where(sa.func.numnode(built.c.any) > 0)  # 0: nothing but stop words
        .cte("asked")
    )


def _texts(texts: Sequence[str]) -> sa.BindParameter[Any]:
    return sa.bindparam(None, list(texts), type_=ARRAY(sa.Text))


def _marked(best: sa.Subquery) -> list[sa.ColumnElement[Any]]:
    """Title and body with every word marked that was looked for, as they are and without accents:
    either may show a stem that the other hides."""
    options = f'HighlightAll=true, StartSel="{MARK}", StopSel="{UNMARK}"'
    config = sa.cast(best.c.configuration, REGCONFIG)
    text = versions.c.title.concat("\n").concat(versions.c.body)
    return [
        sa.func.ts_headline(config, said, best.c.any, options).label(name)
        for name, said in (("marked", text), ("marked_bare", sa.func.knowledge_fold(text)))
    ]


def _found(row: sa.RowMapping, all_words: bool) -> Found:
    marked = re.findall(f"{MARK}([^{UNMARK}]*){UNMARK}", row["marked"] + row["marked_bare"])
    words = {fold(word).lower() for part in marked for word in re.findall(r"\w+", part)}
    shown = {
        name: value for name, value in row.items() if name not in ("marked", "marked_bare", "body")
    }
    return Found(
        row=shown,
        title=snippet(row["title"], words),
        body=snippet(row["body"], words),
        all_words=all_words,
    )


async def read(
    connection: AsyncConnection,
    client_id: str,
    article_id: str,
    at: int,
    *,
    version: int | None = None,
    only_in_force: bool = False,
) -> Row | None:
    """One published version with its body, `in_force` and `helped`: this one, withdrawn or not;
    or the one in force at this time and, unless only that will do, else the last one."""
    now = in_force(at)
    asked = _readable(at).where(
        versions.c.client_id == client_id, versions.c.article_id == article_id
    )
    if version is not None:
        asked = asked.where(versions.c.version == version)
    elif only_in_force:
        asked = asked.where(now)
    else:
        asked = asked.where(versions.c.withdrawn_at.is_(None))
    chosen = asked.order_by(now.desc(), versions.c.version.desc()).limit(1)
    row = (await connection.execute(chosen)).mappings().one_or_none()
    return None if row is None else dict(row)


async def read_versions(
    connection: AsyncConnection, client_id: str, article_id: str, at: int
) -> list[Row]:
    """Every published version, the first one first."""
    rows = await connection.execute(
        _readable(at)
        .where(versions.c.client_id == client_id, versions.c.article_id == article_id)
        .order_by(versions.c.version)
    )
    return [dict(row) for row in rows.mappings()]


def _readable(at: int) -> sa.Select[Any]:
    return (
        sa.select(
            *(column for column in versions.c if column.name not in ("heading", "words")),
            articles.c.helped,
            in_force(at).label("in_force"),
            sa.literal(at, sa.BigInteger).label("asked_at"),
        )
        .join_from(
            versions,
            articles,
            sa.and_(
                versions.c.client_id == articles.c.client_id,
                versions.c.article_id == articles.c.article_id,
            ),
        )
        .where(versions.c.published_at.is_not(None))
    )


async def read_draft(connection: AsyncConnection, client_id: str, article_id: str) -> Row | None:
    """What is being written, if anything is."""
    rows = await connection.execute(
        sa.select(versions).where(
            versions.c.client_id == client_id,
            versions.c.article_id == article_id,
            versions.c.published_at.is_(None),
        )
    )
    row = rows.mappings().one_or_none()
    return None if row is None else dict(row)


async def list_articles(
    connection: AsyncConnection,
    client_id: str,
    state: str,
    kind: str | None,
    language: str | None,
    after: str,
    limit: int,
) -> list[Row]:
    """By article_id. state: `published` (and not withdrawn), `draft` (one is being written) or
    `withdrawn`."""
    is_so = {
        "published": sa.and_(articles.c.published.is_not(None), ~articles.c.withdrawn),
        "draft": articles.c.draft.is_not(None),
        "withdrawn": articles.c.withdrawn,
    }[state]
    asked = sa.select(articles).where(
        articles.c.client_id == client_id, articles.c.article_id > after, is_so
    )
    if kind is not None:
        asked = asked.where(articles.c.kind == kind)
    if language is not None:
        asked = asked.where(articles.c.language == language)
    rows = await connection.execute(asked.order_by(articles.c.article_id).limit(limit))
    return [dict(row) for row in rows.mappings()]


async def calls_helped(
    connection: AsyncConnection, client_id: str, article_id: str, after: str, limit: int
) -> tuple[int, dict[int, int], list[Row]] | None:
    """In how many calls an article helped, how many each version, and the calls by call_id.
    None: no such article."""
    count = await connection.scalar(
        sa.select(articles.c.helped).where(
            articles.c.client_id == client_id, articles.c.article_id == article_id
        )
    )
    if count is None:
        return None
    of_it = (helped.c.client_id == client_id, helped.c.article_id == article_id)
    by_version = await connection.execute(
        sa.select(helped.c.version, sa.func.count()).where(*of_it).group_by(helped.c.version)
    )
    calls = await connection.execute(
        sa.select(helped.c.call_id, helped.c.version)
        .where(*of_it, helped.c.call_id > after)
        .order_by(helped.c.call_id)
        .limit(limit)
    )
    return (
        count,
        {version: number for version, number in sorted(by_version)},
        [dict(row) for row in calls.mappings()],
    )
