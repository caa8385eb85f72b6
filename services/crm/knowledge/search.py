"""What is looked for, and what of a text to show. Pure; PostgreSQL finds and ranks (store).

parse('tarif "sans engagement" -mobile or forfai')
    all of: tarif, the phrase "sans engagement", not mobile; or: forfai, and what begins with it
"""

import re
import unicodedata
from collections.abc import Collection
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

from eventkit.decider import Invalid

MAX_QUERY: Final = 300
MAX_TERMS: Final = 20
SNIPPET: Final = 240

CONFIGURATIONS: Final = {
    "ar": "arabic",
    "ca": "catalan",
    "da": "danish",
    "de": "german",
    "el": "greek",
    "en": "english",
    "es": "spanish",
    "et": "estonian",
    "eu": "basque",
    "fi": "finnish",
    "fr": "french",
    "ga": "irish",
    "hi": "hindi",
    "hu": "hungarian",
    "hy": "armenian",
    "id": "indonesian",
    "it": "italian",
    "lt": "lithuanian",
    "nb": "norwegian",
    "ne": "nepali",
    "nl": "dutch",
    "nn": "norwegian",
    "no": "norwegian",
    "pt": "portuguese",
    "ro": "romanian",
    "ru": "russian",
    "sr": "serbian",
    "sv": "swedish",
    "ta": "tamil",
    "tr": "turkish",
    "yi": "yiddish",
}
"""PostgreSQL's own text search configurations, all of which come with the server."""


def configuration(language: str) -> str:
    """The text search configuration of a language; `simple`, without stems, where it has none."""
    return CONFIGURATIONS.get(language.partition("-")[0], "simple")


@dataclass(frozen=True, slots=True)
class Term:
    """A word, or the words of a phrase in their order. prefix: the word may still be going on."""

    text: str
    excluded: bool = False
    phrase: bool = False
    prefix: bool = False


@dataclass(frozen=True, slots=True)
class Query:
    """What is found has all terms of one of the alternatives."""

    alternatives: tuple[tuple[Term, ...], ...]

    @property
    def wanted(self) -> tuple[Term, ...]:
        """Every term that is not excluded."""
        return tuple(term for terms in self.alternatives for term in terms if not term.excluded)

    @property
    def excludes(self) -> bool:
        """Whether there is a term that must not be there."""
        return any(term.excluded for terms in self.alternatives for term in terms)


_TERM = re.compile(r'(?P<excluded>-?)(?:"(?P<phrase>[^"]*)(?:"|$)|(?P<word>[^\s"]+))')


def parse(text: str, typing: bool = True) -> Query:
    """Words, "phrases", -without, `or` between alternatives. typing: the last word of the text is
    perhaps not finished. Raises Invalid(q) where nothing is looked for."""
    if len(text) > MAX_QUERY:
        raise Invalid("q", f"is longer than {MAX_QUERY} characters")
    # Apostrophes end a word: l'abonnement is looked for as abonnement.
    text = re.sub(r"['\u2018\u2019\u02bc]", " ", "".join(map(_printable, text)))
    alternatives: list[list[Term]] = [[]]
    count = 0
    for match in _TERM.finditer(text):
        word, phrase = match["word"], match["phrase"]
        excluded = bool(match["excluded"])
        if word is not None and word.lower() == "or" and not excluded:
            alternatives.append([])
            continue
        said = phrase if word is None else word
        if not re.search(r"\w", said):
            continue
        last = typing and match.end() == len(text) and re.fullmatch(r"\w{2,}", said) is not None
        alternatives[-1].append(
            Term(said, excluded, word is None, last and word is not None and not excluded)
        )
        count += 1
    # An exclusion alone would find nearly everything.
    found = tuple(
        tuple(terms) for terms in alternatives if any(not term.excluded for term in terms)
    )
    if not found:
        raise Invalid("q", "has no word to look for")
    if count > MAX_TERMS:
        raise Invalid("q", f"has more than {MAX_TERMS} words")
    return Query(found)


def _printable(character: str) -> str:
    return character if character.isprintable() else " "


# Without accents.

_LETTERS = str.maketrans(
    {
        "ё": "е",  # noqa: RUF001 - Cyrillic, on both sides
        "Ё": "Е",  # noqa: RUF001
        "ø": "o",
        "Ø": "O",
        "ł": "l",
        "Ł": "L",
        "đ": "d",
        "Đ": "D",
        "Æ": "AE",
        "œ": "oe",
        "Œ": "OE",
        "æ": "ae",
        "ß": "ss",
    }
)


def fold(text: str) -> str:
    """Without the accents of Latin letters: what `knowledge_fold` of migration 0006 says. In
    Cyrillic they make other letters (й is no и), and stay."""
    if text.isascii():
        return text
    bare = re.sub(r"([A-Za-z])[\u0300-\u036f]+", r"\1", unicodedata.normalize("NFKD", text))
    return unicodedata.normalize("NFC", bare).translate(_LETTERS)


@lru_cache(maxsize=50_000)
def _folded(word: str) -> str:
    """One word of an article. Kept, since the same words come in all of them."""
    return fold(word).lower()


# What is shown of a text.


@dataclass(frozen=True, slots=True)
class Snippet:
    """A piece of a text as it is, without any markup. marks: (start, end) of the words that were
    looked for, in characters (code points) of `text`."""

    text: str
    marks: tuple[tuple[int, int], ...] = ()


def snippet(text: str, words: Collection[str], length: int = SNIPPET) -> Snippet:
    """The piece of a text that has most of the folded words in it, the first of several; its
    beginning where it has none. A piece begins and ends where a word does."""
    hits = [
        (match.start(), match.end(), word)
        for match in re.finditer(r"\w+", text)
        if (word := _folded(match[0])) in words
    ]
    best, most = 0, (0, 0)
    for first, (start, _, _) in enumerate(hits):
        near: list[str] = []
        for _, end, word in hits[first:]:
            if end > start + length * 3 // 4:
                break
            near.append(word)
        if (len(set(near)), len(near)) > most:
            best, most = start, (len(set(near)), len(near))
    # A few words before the first one, so that it can be understood.
    begin = _word_start(text, best - length // 4, best)
    shown = text[begin : _word_end(text, begin + length)].rstrip()
    marks = tuple(
        (start - begin, end - begin)
        for start, end, _ in hits
        if start >= begin and end - begin <= len(shown)
    )
    return Snippet(re.sub(r"\s", " ", shown), marks)


def _word_start(text: str, position: int, limit: int) -> int:
    """Where the first word after the position begins, at most `limit`."""
    if position <= 0:
        return 0
    space = re.compile(r"\s+").search(text, position - 1, limit)
    return limit if space is None else space.end()


def _word_end(text: str, position: int) -> int:
    """Where the last word before the position ends; a word that is too long is cut."""
    if position >= len(text) or text[position].isspace():
        return position
    spaces = [match.start() for match in re.compile(r"\s").finditer(text, position - 60, position)]
    return spaces[-1] if spaces else position
