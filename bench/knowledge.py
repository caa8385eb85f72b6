"""How long the search of one client's articles takes, among 20,000 of them in a real PostgreSQL.

    python bench/knowledge.py [--articles 20000] [--url postgresql://...]

Words are as frequent as words are (Zipf), in French, English and Russian; each article also has the
words of its kind, which thousands have. Prints milliseconds for each kind of question.
"""

import argparse
import asyncio
import random
import statistics
import tempfile
import time
from pathlib import Path

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from eventkit.postgres import make_engine, migrate
from relaisctl.stack import Ports, Stack
from services.crm.knowledge.search import parse
from services.crm.knowledge.store import Filter, articles, search, searchable, versions

NOW = 1_800_000_000_000_000
VALID = {"published_at": NOW, "starts_at": NOW}
LETTERS = {"fr": "aeéiouèlnrst", "en": "aeioulnrstdh", "ru": "аеиоулнрстд"}
COMMON = {
    language: words.split()
    for language, words in {
        "fr": "facture tarif abonnement client ligne téléphone résilier frais mois service",
        "en": "bill price subscription customer line phone cancel fee month service",
        "ru": "счёт тариф подписка клиент линия телефон отмена плата месяц услуга",
    }.items()
}
QUESTIONS = [
    "facture",
    "fact",
    "résilier abonnement",
    "frais de résiliation abonn",
    '"tarif abonnement"',
    "tarif -facture",
    "cancel subscription fee",
    "тарифы на подписку",
    "service",
    "se",
    "nothing of this is anywhere",
]


def vocabulary(language: str, rng: random.Random) -> list[str]:
    letters = LETTERS[language]
    made = {"".join(rng.choices(letters, k=rng.randint(3, 11))) for _ in range(30_000)}
    return COMMON[language] + sorted(made)


async def fill(connection: AsyncConnection, client_id: str, count: int) -> None:
    rng = random.Random(1)
    words = {language: vocabulary(language, rng) for language in LETTERS}
    weights = {
        language: [1 / (rank + 10) for rank in range(len(vocabulary))]
        for language, vocabulary in words.items()
    }
    rows = []
    for number in range(count):
        language = rng.choices(("fr", "en", "ru"), (3, 1, 1))[0]
        said = rng.choices(words[language], weights[language], k=rng.randint(40, 250))
        title = " ".join([*rng.sample(said, 3), rng.choice(COMMON[language])])
        key = {"client_id": client_id, "article_id": f"article-{number}"}
        about = {"kind": "other", "language": language, "title": title}
        rows.append(key | about | {"version": 1, "body": " ".join(said), "tags": said[:1], **VALID})
        if len(rows) == 500 or number == count - 1:
            heads = [
                {name: row[name] for name in (*key, *about)} | {"published": 1} for row in rows
            ]
            await connection.execute(articles.insert().values(withdrawn=False, helped=0), heads)
            await connection.execute(versions.insert(), rows)
            for language in LETTERS:
                new = versions.c.article_id.in_([row["article_id"] for row in rows])
                mine = sa.and_(versions.c.client_id == client_id, new)
                await connection.execute(
                    sa.update(versions)
                    .where(mine, versions.c.language == language)
                    .values(searchable(language))
                )
            rows = []
    await connection.execute(
        sa.update(articles)
        .where(sa.func.hashtext(articles.c.article_id) % 10 == 0)
        .values(helped=sa.func.abs(sa.func.hashtext(articles.c.article_id)) % 50)
    )


async def measure(url: str, count: int) -> None:
    await migrate(url, "services.crm:migrations")
    engine = make_engine(url)
    begun = time.perf_counter()
    async with engine.begin() as connection:
        # The indexes are made afterwards, in one go.
        for index in versions.indexes:
            await connection.run_sync(index.drop)
        await fill(connection, "bench", count)
        for index in versions.indexes:
            await connection.run_sync(index.create)
    async with engine.connect() as connection:
        await connection.execution_options(isolation_level="AUTOCOMMIT")
        for table in (articles, versions):
            await connection.execute(sa.text(f"VACUUM ANALYZE {table.name}"))
        print(f"{count:,} articles in {time.perf_counter() - begun:.0f} s")
        print(f"{'best':>6} {'median':>6} {'worst':>6}  found  question (milliseconds)")
        for language in ("fr", None):
            print(f"language: {language or 'all'}")
            for question in QUESTIONS:
                query = parse(question)
                where = Filter("bench", NOW + 1, language)
                took = []
                for _ in range(20):
                    begun = time.perf_counter()
                    found = await search(connection, query, where, 10)
                    took.append((time.perf_counter() - begun) * 1000)
                figures = (min(took), statistics.median(took), max(took))
                shown = " ".join(f"{figure:6.1f}" for figure in figures)
                print(f"{shown}  {len(found):5}  {question}")
    await engine.dispose()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--articles", type=int, default=20_000)
    parser.add_argument("--url", help="an empty database; else a server is started for it")
    given = parser.parse_args()
    if given.url:
        asyncio.run(measure(given.url, given.articles))
        return
    with tempfile.TemporaryDirectory(prefix="relais-") as home:
        stack = Stack(Path(home), Ports.free())
        try:
            stack.start(["postgres"])
            asyncio.run(measure(stack.addresses["postgres"], given.articles))
        finally:
            stack.stop()


if __name__ == "__main__":
    main()
