"""HTTP: supervisors write articles, agents search and read them."""

from datetime import date
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Query
from pydantic import AwareDatetime, BaseModel, Field
from pydantic.config import JsonDict

from eventkit.callers import Role
from eventkit.eventstore import Answer
from eventkit.http import (
    Body,
    CallerOf,
    CauseOf,
    ClientOf,
    Day,
    Id,
    Lax,
    Listing,
    Name,
    PageOf,
    Text,
    example,
    problems,
    require,
    time_of,
)
from services.crm.knowledge.article import (
    LANGUAGE,
    MAX_BODY,
    MAX_TAG,
    MAX_TAGS,
    Content,
    Kind,
)
from services.crm.knowledge.search import MAX_QUERY, Snippet
from services.crm.knowledge.service import Knowledge
from services.crm.knowledge.store import Found, Row

Language = Annotated[str, Field(pattern=f"^{LANGUAGE.pattern}$", examples=["fr"])]
Version = Annotated[int, Field(ge=1, le=2**31 - 1, examples=[2])]
Validity = Literal["valid", "expired", "upcoming", "superseded", "withdrawn"]

_EXAMPLE: JsonDict = {
    "kind": "tariff",
    "language": "fr",
    "title": "Forfait Famille",
    "body": "29,90 € par mois, sans engagement. Jusqu'à cinq lignes.",
    "tags": ["mobile", "famille"],
    "valid_from": "2026-12-01",
    "valid_until": "2027-05-31",
}


class Draft(Body):
    """The days are in the client's zone, both included; left out: from the publication, and until
    another version takes its place. Nothing personal belongs into an article."""

    model_config = example(_EXAMPLE)

    kind: Lax[Kind]
    language: Language
    title: Name
    body: Annotated[str, Field(min_length=1, max_length=MAX_BODY)]
    tags: Annotated[
        list[Annotated[str, Field(min_length=1, max_length=MAX_TAG)]], Field(max_length=MAX_TAGS)
    ] = Field(default=[])
    valid_from: Day | None = None
    valid_until: Day | None = None

    def content(self) -> Content:
        return Content(
            self.kind,
            self.language,
            self.title,
            self.body,
            tuple(self.tags),
            self.valid_from,
            self.valid_until,
        )


class NewArticle(Draft):
    """article_id: made by us where it is left out."""

    model_config = example({"article_id": "forfait-famille", **_EXAMPLE})

    article_id: Id | None = None


class Publish(Body):
    """version: of the draft, as it was answered when it was written."""

    model_config = example({"version": 2})

    version: Version


class Search(Body):
    """q: words, "phrases", -without, `or` between alternatives; accents and endings do not matter.

    language: of the articles; left out, all. on: valid on that day; left out, today.
    validity `any`: what has expired or is not yet valid, too. typing: the last word is perhaps
    not finished.
    """

    model_config = example({"q": 'forfait "sans engagement" fam', "language": "fr"})

    q: Annotated[str, Field(min_length=1, max_length=MAX_QUERY)]
    language: Language | None = None
    kind: Lax[Kind] | None = None
    tag: Annotated[Text, Field(max_length=MAX_TAG)] | None = None
    on: Day | None = None
    validity: Literal["valid", "any"] = "valid"
    typing: bool = True
    limit: Annotated[int, Field(ge=1, le=50)] = 10


class Done(BaseModel):
    """version: the one that was written, published, or last published."""

    article_id: str
    version: int


class About(BaseModel):
    article_id: str
    kind: Kind
    language: str
    title: str


class Head(About):
    """draft: the version that is being written. published: the last that was. helped: calls."""

    draft: int | None
    published: int | None
    withdrawn: bool
    helped: int


class DraftView(About):
    version: int
    body: str
    tags: list[str]
    valid_from: date | None
    valid_until: date | None


class ArticleView(DraftView):
    """validity: on the day that was asked for. helped: calls, of all versions."""

    published_at: AwareDatetime
    validity: Validity
    helped: int


class Marked(BaseModel):
    """Plain text, to be escaped like any other. marks: begin and end of each word that was looked
    for, in characters (Unicode code points) of the text."""

    text: str
    marks: list[tuple[int, int]]


class Hit(BaseModel):
    """all_words: whether it has all that was looked for; where nothing has, some will do."""

    article_id: str
    version: int
    kind: Kind
    language: str
    title: Marked
    snippet: Marked
    tags: list[str]
    valid_from: date | None
    valid_until: date | None
    validity: Validity
    helped: int
    score: float
    all_words: bool


class Hits(BaseModel):
    items: list[Hit]


class HelpedIn(BaseModel):
    call_id: str
    version: int


class Helped(Listing[HelpedIn]):
    """count: calls, of all versions. versions: calls by version."""

    count: int
    versions: dict[int, int]


def router(service: Knowledge) -> APIRouter:
    api = APIRouter(prefix="/v1/clients/{client_id}/articles", tags=["knowledge"])
    supervisor = [require("supervisor")]

    @api.post(
        "",
        operation_id="createArticle",
        status_code=201,
        response_model=Done,
        responses=problems(409),
        dependencies=supervisor,
    )
    async def create(cause: CauseOf, body: NewArticle) -> Answer:
        """Write a new article: a draft, which nobody finds before it is published."""
        return await service.create(cause, body.article_id, body.content())

    @api.put(
        "/{article_id}/draft",
        operation_id="draftArticle",
        response_model=Done,
        responses=problems(409),
        dependencies=supervisor,
    )
    async def draft(cause: CauseOf, article_id: Id, body: Draft) -> Answer:
        """Write the next version, or what its draft says now."""
        return await service.draft(cause, article_id, body.content())

    @api.get(
        "/{article_id}/draft",
        operation_id="readArticleDraft",
        response_model=DraftView,
        dependencies=supervisor,
    )
    async def read_draft(client_id: ClientOf, article_id: Id) -> Row:
        """What is being written."""
        return await service.read_draft(client_id, article_id)

    @api.post(
        "/{article_id}/publish",
        operation_id="publishArticle",
        response_model=Done,
        responses=problems(409),
        dependencies=supervisor,
    )
    async def publish(cause: CauseOf, article_id: Id, body: Publish) -> Answer:
        """Make the draft a version: it never changes, and agents find it while it is valid."""
        return await service.publish(cause, article_id, body.version)

    @api.post(
        "/{article_id}/withdraw",
        operation_id="withdrawArticle",
        response_model=Done,
        responses=problems(409),
        dependencies=supervisor,
    )
    async def withdraw(cause: CauseOf, article_id: Id) -> Answer:
        """Let nobody find the article any more. Its versions can be read by their numbers."""
        return await service.withdraw(cause, article_id)

    @api.get("", operation_id="listArticles", response_model=Listing[Head])
    async def articles(
        client_id: ClientOf,
        caller: CallerOf,
        page: PageOf,
        state: Annotated[
            Literal["published", "draft", "withdrawn"],
            Query(description="All but `published` are for supervisors."),
        ] = "published",
        kind: Kind | None = None,
        language: Language | None = None,
    ) -> dict[str, Any]:
        """Articles by their ids."""
        if state != "published":
            caller.must(Role.SUPERVISOR)
        (after,) = page.after(str) or ("",)
        rows = await service.articles(
            client_id, state, kind and kind.value, language, after, page.rows
        )
        return page.of(rows, key=lambda row: (row["article_id"],))

    @api.post("/search", operation_id="searchArticles", response_model=Hits)
    async def search(client_id: ClientOf, body: Search) -> dict[str, Any]:
        """The best articles for what an agent types."""
        found = await service.search(
            client_id,
            body.q,
            language=body.language,
            kind=body.kind and body.kind.value,
            tag=body.tag and body.tag.strip().lower(),
            on=body.on,
            any_validity=body.validity == "any",
            typing=body.typing,
            limit=body.limit,
        )
        return {"items": [_hit(one) for one in found]}

    @api.get("/{article_id}", operation_id="readArticle", response_model=ArticleView)
    async def read(
        client_id: ClientOf,
        article_id: Id,
        on: Annotated[
            Day | None,
            Query(description="As it was, or will be, valid on this day in the client's zone."),
        ] = None,
    ) -> Row:
        """What holds now or, where nothing does, the last version that was published."""
        return _view(await service.read(client_id, article_id, on=on))

    @api.get(
        "/{article_id}/versions",
        operation_id="listArticleVersions",
        response_model=list[ArticleView],
    )
    async def versions(client_id: ClientOf, article_id: Id) -> list[Row]:
        """Everything that was ever published, the first version first."""
        return [_view(row) for row in await service.versions(client_id, article_id)]

    @api.get(
        "/{article_id}/versions/{version}",
        operation_id="readArticleVersion",
        response_model=ArticleView,
    )
    async def read_version(client_id: ClientOf, article_id: Id, version: Version) -> Row:
        """A version as it was published, withdrawn or not."""
        return _view(await service.read(client_id, article_id, version=version))

    @api.get(
        "/{article_id}/helped", operation_id="listCallsThatArticleHelped", response_model=Helped
    )
    async def helped(client_id: ClientOf, article_id: Id, page: PageOf) -> dict[str, Any]:
        """In how many calls the article helped, and in which."""
        (after,) = page.after(str) or ("",)
        count, by_version, calls = await service.helped(client_id, article_id, after, page.rows)
        shown = page.of(calls, key=lambda row: (row["call_id"],))
        return {"count": count, "versions": by_version, **shown}

    return api


def _view(row: Row) -> Row:
    return row | {"published_at": time_of(row["published_at"]), "validity": _validity(row)}


def _hit(found: Found) -> Row:
    return found.row | {
        "title": _marked(found.title),
        "snippet": _marked(found.body),
        "validity": _validity(found.row),
        "all_words": found.all_words,
    }


def _marked(piece: Snippet) -> Row:
    return {"text": piece.text, "marks": piece.marks}


def _validity(row: Row) -> Validity:
    if row["in_force"]:
        return "valid"
    if row["withdrawn_at"] is not None and row["withdrawn_at"] <= row["asked_at"]:
        return "withdrawn"
    if row["starts_at"] > row["asked_at"]:
        return "upcoming"
    if row["superseded_at"] is not None and row["superseded_at"] <= row["asked_at"]:
        return "superseded"
    return "expired"
