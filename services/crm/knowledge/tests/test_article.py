"""Articles: given what happened, when somebody wants something, then events or a refusal."""

from dataclasses import replace
from datetime import UTC, date, datetime
from zoneinfo import ZoneInfo

import pytest

from eventkit.decider import Invalid, NotFound, Rejected, fold
from services.crm.knowledge.article import (
    ARTICLE,
    MAX_BODY,
    ArticleDrafted,
    ArticlePublished,
    ArticleWithdrawn,
    Command,
    Content,
    DraftArticle,
    Event,
    Kind,
    PublishArticle,
    WithdrawArticle,
)

PARIS = ZoneInfo("Europe/Paris")
FIBRE = Content(Kind.TARIFF, "fr", "Forfait fibre", "29,90 € par mois", ("fibre",))
NEXT = replace(FIBRE, body="31,90 € par mois")
NOW = 1_790_000_000_000_000
PUBLISHED = [ArticleDrafted(1, FIBRE), ArticlePublished(1, NOW, None)]


def micros(*parts: int) -> int:
    return int(datetime(*parts, tzinfo=UTC).timestamp()) * 1_000_000  # type: ignore[misc, arg-type]


def when(given: list[Event], command: Command) -> list[Event]:
    return list(ARTICLE.decide(command, fold(ARTICLE, given)))


@pytest.mark.parametrize(
    ("given", "command", "then"),
    [
        pytest.param([], DraftArticle("a", FIBRE), [ArticleDrafted(1, FIBRE)], id="first draft"),
        pytest.param(
            [ArticleDrafted(1, FIBRE)],
            DraftArticle("a", NEXT),
            [ArticleDrafted(1, NEXT)],
            id="a draft is written anew under its number",
        ),
        pytest.param([ArticleDrafted(1, FIBRE)], DraftArticle("a", FIBRE), [], id="the same draft"),
        pytest.param(
            [ArticleDrafted(1, FIBRE)], DraftArticle("a", FIBRE, new=True), [], id="the same again"
        ),
        pytest.param(
            PUBLISHED, DraftArticle("a", NEXT), [ArticleDrafted(2, NEXT)], id="next version"
        ),
        pytest.param(PUBLISHED, DraftArticle("a", FIBRE), [], id="what is published already"),
        pytest.param(
            [*PUBLISHED, ArticleWithdrawn()],
            DraftArticle("a", FIBRE),
            [ArticleDrafted(2, FIBRE)],
            id="what was withdrawn comes back as a new version",
        ),
        pytest.param(
            [ArticleDrafted(1, FIBRE)],
            PublishArticle(1, NOW, PARIS),
            [ArticlePublished(1, NOW, None)],
            id="valid from its publication",
        ),
        pytest.param(
            [
                ArticleDrafted(
                    1,
                    replace(FIBRE, valid_from=date(2026, 3, 1), valid_until=date(2026, 3, 29)),
                )
            ],
            PublishArticle(1, NOW, PARIS),
            # The 29th of March has 23 hours in Paris.
            [ArticlePublished(1, micros(2026, 2, 28, 23), micros(2026, 3, 29, 22))],
            id="days in the client's zone, both included",
        ),
        pytest.param(PUBLISHED, PublishArticle(1, NOW + 5, PARIS), [], id="published again"),
        pytest.param(PUBLISHED, WithdrawArticle(), [ArticleWithdrawn()], id="withdrawn"),
        pytest.param([*PUBLISHED, ArticleWithdrawn()], WithdrawArticle(), [], id="withdrawn again"),
        pytest.param(
            [],
            DraftArticle("a", replace(FIBRE, title=" Cafe\u0301 ", tags=("Fibre", "fibre"))),
            [ArticleDrafted(1, replace(FIBRE, title="Café", tags=("fibre",)))],
            id="texts have one form",
        ),
    ],
)
def test_decisions(given: list[Event], command: Command, then: list[Event]) -> None:
    assert when(given, command) == then
    assert when([*given, *then], command) == []


@pytest.mark.parametrize(
    ("given", "command", "error", "reason"),
    [
        ([], PublishArticle(1, NOW, PARIS), NotFound, "no such article"),
        ([], WithdrawArticle(), NotFound, "no such article"),
        ([ArticleDrafted(1, FIBRE)], WithdrawArticle(), Rejected, "never been published"),
        (PUBLISHED, PublishArticle(2, NOW, PARIS), Rejected, "version: there is no draft"),
        (PUBLISHED, PublishArticle(0, NOW, PARIS), Rejected, "version: there is no draft"),
        (
            [ArticleDrafted(1, replace(FIBRE, valid_until=date(2020, 1, 1)))],
            PublishArticle(1, NOW, PARIS),
            Rejected,
            "valid_until: is over before",
        ),
        (PUBLISHED, DraftArticle("a", replace(NEXT, language="en")), Rejected, "one language"),
        (PUBLISHED, DraftArticle("a", NEXT, new=True), Rejected, "exists already"),
        ([], DraftArticle("no/slash", FIBRE), Invalid, "article_id: must match"),
        ([], DraftArticle("a", replace(FIBRE, language="français")), Invalid, "language: "),
        ([], DraftArticle("a", replace(FIBRE, title="  ")), Invalid, "title: is missing"),
        ([], DraftArticle("a", replace(FIBRE, title="a\nb")), Invalid, "title: must be one line"),
        ([], DraftArticle("a", replace(FIBRE, body="x" * (MAX_BODY + 1))), Invalid, "body: is lon"),
        ([], DraftArticle("a", replace(FIBRE, body="a\0b")), Invalid, "body: has a control"),
        ([], DraftArticle("a", replace(FIBRE, body="a\ud800b")), Invalid, "body: has a control"),
        ([], DraftArticle("a", replace(FIBRE, tags=("t",) * 31)), Invalid, "tags: must be at"),
        ([], DraftArticle("a", replace(FIBRE, tags=("",))), Invalid, "tags: is missing"),
        (
            [],
            DraftArticle(
                "a", replace(FIBRE, valid_from=date(2026, 2, 1), valid_until=date(2026, 1, 1))
            ),
            Invalid,
            "valid_until: is before valid_from",
        ),
        (
            [],
            DraftArticle("a", replace(FIBRE, valid_until=date.max)),
            Invalid,
            "valid_until: must be between",
        ),
    ],
)
def test_refusals(
    given: list[Event], command: Command, error: type[Exception], reason: str
) -> None:
    with pytest.raises(error, match=reason):
        when(given, command)
