"""What supervisors do with articles, and what agents ask of them."""

from collections.abc import Awaitable, Callable
from datetime import date, timedelta, tzinfo
from typing import Final

from eventkit.decider import Invalid, NotFound
from eventkit.eventstore import Answer, Category, Cause, EventStore, Transaction
from eventkit.ids import derived_id
from services.crm.knowledge import store
from services.crm.knowledge.article import (
    ARTICLE,
    FIRST_DAY,
    LAST_DAY,
    Article,
    Command,
    Content,
    DraftArticle,
    Event,
    PublishArticle,
    WithdrawArticle,
    start_of,
)
from services.crm.knowledge.search import parse

ARTICLES: Final[Category[Command, Article, Event]] = Category(
    "article", ARTICLE, project=store.project
)


class Knowledge:
    """zone: a client's time zone, in which the days of validity begin. ids: a new id each time.

    Commands answer `article_id` and `version`; they raise Invalid, Rejected and NotFound.
    """

    def __init__(
        self,
        events: EventStore,
        zone: Callable[[str], Awaitable[tzinfo]],
        ids: Callable[[], str],
    ) -> None:
        self._events = events
        self._zone = zone
        self._ids = ids

    async def create(self, cause: Cause, article_id: str | None, content: Content) -> Answer:
        """A new article, as a draft."""
        if article_id is None:
            key = cause.idempotency_key
            article_id = derived_id(cause.client_id, key) if key else self._ids()
        return await self._run(cause, article_id, DraftArticle(article_id, content, new=True))

    async def draft(self, cause: Cause, article_id: str, content: Content) -> Answer:
        """The draft of the next version, or what it says now."""

        async def work(tx: Transaction) -> Answer:
            state, _ = await tx.load(ARTICLES, article_id)
            if state.content is None:
                raise NotFound("article")
            change = await tx.execute(ARTICLES, article_id, DraftArticle(article_id, content))
            return _answer(article_id, change.after)

        return await self._events.run(cause, work)

    async def publish(self, cause: Cause, article_id: str, version: int) -> Answer:
        """What is the draft now is read by agents, from its first valid day on."""
        zone = await self._zone(cause.client_id)

        async def work(tx: Transaction) -> Answer:
            at = tx.now if cause.occurred_at is None else cause.occurred_at
            command = PublishArticle(version, at, zone)
            change = await tx.execute(ARTICLES, article_id, command)
            return _answer(article_id, change.after)

        return await self._events.run(cause, work)

    async def withdraw(self, cause: Cause, article_id: str) -> Answer:
        """No version is found any more; each can still be read by its number."""
        return await self._run(cause, article_id, WithdrawArticle())

    async def _run(self, cause: Cause, article_id: str, command: Command) -> Answer:
        async def work(tx: Transaction) -> Answer:
            return _answer(article_id, (await tx.execute(ARTICLES, article_id, command)).after)

        return await self._events.run(cause, work)

    async def search(
        self,
        client_id: str,
        text: str,
        *,
        language: str | None = None,
        kind: str | None = None,
        tag: str | None = None,
        on: date | None = None,
        any_validity: bool = False,
        typing: bool = True,
        limit: int = 10,
    ) -> list[store.Found]:
        """The best articles for what an agent types, among those valid on a day (today, in the
        client's zone), or all that are not withdrawn. Raises Invalid(q)."""
        query = parse(text, typing)
        where = store.Filter(
            client_id, await self._at(client_id, on), language, kind, tag, any_validity
        )
        async with self._events.engine.connect() as connection:
            return await store.search(connection, query, where, limit)

    async def read(
        self, client_id: str, article_id: str, *, version: int | None = None, on: date | None = None
    ) -> store.Row:
        """This version; or the one that was valid on a day; or, without either, the one in force
        and, where none is, the last that was published. Raises NotFound."""
        at = await self._at(client_id, on)
        async with self._events.engine.connect() as connection:
            row = await store.read(
                connection,
                client_id,
                article_id,
                at,
                version=version,
                only_in_force=on is not None,
            )
        if row is None:
            raise NotFound("article")
        return row

    async def versions(self, client_id: str, article_id: str) -> list[store.Row]:
        """Every version that was ever published. Raises NotFound where there is none."""
        async with self._events.engine.connect() as connection:
            rows = await store.read_versions(
                connection, client_id, article_id, self._events.clock.now_us()
            )
        if not rows:
            raise NotFound("article")
        return rows

    async def read_draft(self, client_id: str, article_id: str) -> store.Row:
        async with self._events.engine.connect() as connection:
            row = await store.read_draft(connection, client_id, article_id)
        if row is None:
            raise NotFound("draft")
        return row

    async def articles(
        self,
        client_id: str,
        state: str,
        kind: str | None,
        language: str | None,
        after: str,
        limit: int,
    ) -> list[store.Row]:
        """As `store.list_articles`."""
        async with self._events.engine.connect() as connection:
            return await store.list_articles(
                connection, client_id, state, kind, language, after, limit
            )

    async def helped(
        self, client_id: str, article_id: str, after: str, limit: int
    ) -> tuple[int, dict[int, int], list[store.Row]]:
        """As `store.calls_helped`. Raises NotFound."""
        async with self._events.engine.connect() as connection:
            found = await store.calls_helped(connection, client_id, article_id, after, limit)
        if found is None:
            raise NotFound("article")
        return found

    async def _at(self, client_id: str, on: date | None) -> int:
        """The last moment of a day in the client's zone; now, without one. Raises Invalid(on)."""
        if on is None:
            return self._events.clock.now_us()
        if not FIRST_DAY <= on <= LAST_DAY:
            raise Invalid("on", f"must be between {FIRST_DAY} and {LAST_DAY}")
        return start_of(on + timedelta(days=1), await self._zone(client_id)) - 1


def _answer(article_id: str, state: Article) -> Answer:
    return {"article_id": article_id, "version": state.draft or state.published}
