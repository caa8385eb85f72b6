"""What agents look up while they talk: a service, a tariff, a procedure, a promotion. Pure.

An article is written as a draft and published as a version, which stays as it is for ever. From
the day on which a version becomes valid it takes the place of those before it, also where it ends
sooner. Articles are about the client's business and never about a person.
"""

import re
import unicodedata
from dataclasses import dataclass, replace
from datetime import date, datetime, timedelta, tzinfo
from enum import StrEnum
from typing import Final

from eventkit.decider import Decider, Invalid, NotFound, Rejected

MAX_TITLE: Final = 200
MAX_BODY: Final = 20_000
MAX_TAGS: Final = 30
MAX_TAG: Final = 50
FIRST_DAY: Final = date(1970, 1, 2)
LAST_DAY: Final = date(9998, 12, 31)

ID: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:+-]{0,127}")
LANGUAGE: Final = re.compile(r"[a-z]{2,3}(-[A-Z][a-z]{3})?(-[A-Z]{2})?")

EPOCH: Final = datetime.fromisoformat("1970-01-01T00:00:00+00:00")


class Kind(StrEnum):
    SERVICE = "service"
    TARIFF = "tariff"
    PROCEDURE = "procedure"
    PROMOTION = "promotion"
    OTHER = "other"


@dataclass(frozen=True, slots=True)
class Content:
    """What one version says.

    language     BCP 47; the same for all versions of an article
    tags         in lower case, each once
    valid_from, valid_until   days in the client's zone, both included. None: from its publication,
                 and until another version takes its place
    """

    kind: Kind
    language: str
    title: str
    body: str
    tags: tuple[str, ...] = ()
    valid_from: date | None = None
    valid_until: date | None = None


@dataclass(frozen=True, slots=True)
class Article:
    """content: of the last version, draft or published. draft, published: its number; 0: none."""

    content: Content | None = None
    draft: int = 0
    published: int = 0
    withdrawn: bool = False


# Events.


@dataclass(frozen=True, slots=True)
class ArticleDrafted:
    """Written, or written anew while it was still a draft."""

    version: int
    content: Content


@dataclass(frozen=True, slots=True)
class ArticlePublished:
    """starts_at, ends_at: the validity, microseconds since 1970; ends_at is the first moment at
    which it is over, None: open. They stay when the client moves to another zone."""

    version: int
    starts_at: int
    ends_at: int | None


@dataclass(frozen=True, slots=True)
class ArticleWithdrawn:
    """Wrong or useless: no version is found from now on. Another version may be published later."""


Event = ArticleDrafted | ArticlePublished | ArticleWithdrawn


# Commands.


@dataclass(frozen=True, slots=True)
class DraftArticle:
    """new: the article must not be there yet, or be just this."""

    article_id: str
    content: Content
    new: bool = False


@dataclass(frozen=True, slots=True)
class PublishArticle:
    """version: of the draft that is meant, so that no other is published by a repeat.
    zone: the client's, in which the days of validity begin."""

    version: int
    at: int
    zone: tzinfo


@dataclass(frozen=True, slots=True)
class WithdrawArticle: ...


Command = DraftArticle | PublishArticle | WithdrawArticle


def decide(command: Command, state: Article) -> list[Event]:
    """Raises Invalid, Rejected, and NotFound where there is no article to publish or withdraw."""
    match command:
        case DraftArticle():
            return _draft(command, state)
        case PublishArticle(version, at, zone):
            if state.content is None:
                raise NotFound("article")
            if 0 < version <= state.published:
                return []
            if not state.draft or version != state.draft:
                raise Rejected("there is no draft of this number", "version")
            content = state.content
            starts_at = at if content.valid_from is None else start_of(content.valid_from, zone)
            if content.valid_until is None:
                return [ArticlePublished(version, starts_at, None)]
            ends_at = start_of(content.valid_until + timedelta(days=1), zone)
            if ends_at <= starts_at:
                raise Rejected("is over before it would be published", "valid_until")
            return [ArticlePublished(version, starts_at, ends_at)]
        case WithdrawArticle():
            if state.content is None:
                raise NotFound("article")
            if not state.published:
                raise Rejected("has never been published")
            return [] if state.withdrawn else [ArticleWithdrawn()]


def _draft(command: DraftArticle, state: Article) -> list[Event]:
    if not ID.fullmatch(command.article_id):
        raise Invalid("article_id", f"must match {ID.pattern}")
    content = checked(command.content)
    if state.content is None:
        return [ArticleDrafted(1, content)]
    if command.new and content != state.content:
        raise Rejected("exists already, and is another", "article_id")
    if content.language != state.content.language:
        raise Rejected("an article stays in one language", "language")
    # What is in use already needs no draft; withdrawn, it does, to be published again.
    if content == state.content and (state.draft or not state.withdrawn):
        return []
    return [ArticleDrafted(state.draft or state.published + 1, content)]


def evolve(state: Article, event: Event) -> Article:
    match event:
        case ArticleDrafted(version, content):
            return replace(state, content=content, draft=version)
        case ArticlePublished(version):
            return replace(state, published=version, draft=0, withdrawn=False)
        case ArticleWithdrawn():
            return replace(state, withdrawn=True)


def checked(content: Content) -> Content:
    """The content in its one form: NFC, trimmed, tags in lower case. Raises Invalid."""
    if not LANGUAGE.fullmatch(content.language):
        raise Invalid("language", "must be a BCP 47 language such as fr or pt-BR")
    title = _text("title", content.title, MAX_TITLE)
    if "\n" in title:
        raise Invalid("title", "must be one line")
    tags = [_text("tags", tag, MAX_TAG).lower() for tag in content.tags]
    if len(tags) > MAX_TAGS:
        raise Invalid("tags", f"must be at most {MAX_TAGS}")
    for name, day in (("valid_from", content.valid_from), ("valid_until", content.valid_until)):
        if day is not None and not FIRST_DAY <= day <= LAST_DAY:
            raise Invalid(name, f"must be between {FIRST_DAY} and {LAST_DAY}")
    if content.valid_from and content.valid_until and content.valid_until < content.valid_from:
        raise Invalid("valid_until", "is before valid_from")
    return replace(
        content,
        title=title,
        body=_text("body", content.body, MAX_BODY),
        tags=tuple(dict.fromkeys(tags)),
    )


def start_of(day: date, zone: tzinfo) -> int:
    """When the day begins in the zone, microseconds since 1970."""
    begin = datetime(day.year, day.month, day.day, tzinfo=zone)
    return (begin - EPOCH) // timedelta(microseconds=1)


def _text(field: str, value: str, limit: int) -> str:
    text = unicodedata.normalize("NFC", value).strip()
    if not text:
        raise Invalid(field, "is missing")
    if len(text) > limit:
        raise Invalid(field, f"is longer than {limit} characters")
    for character in text:
        # PostgreSQL keeps neither; other control characters would break what shows a snippet.
        if unicodedata.category(character) in ("Cc", "Cs") and character not in "\n\r\t":
            raise Invalid(field, "has a control character or half of a surrogate pair")
    return text


ARTICLE: Final[Decider[Command, Article, Event]] = Decider(
    initial=Article(),
    decide=decide,
    evolve=evolve,
    events=(ArticleDrafted, ArticlePublished, ArticleWithdrawn),
)
