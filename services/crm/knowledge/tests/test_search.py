"""What is looked for, and what of a text is shown."""

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from eventkit.decider import Invalid
from services.crm.knowledge.search import SNIPPET, Query, Term, configuration, fold, parse, snippet


@pytest.mark.parametrize(
    ("text", "alternatives"),
    [
        ("tarif fam", [[Term("tarif"), Term("fam", prefix=True)]]),
        ("tarif ", [[Term("tarif")]]),
        ("l\u2019abonnement", [[Term("l"), Term("abonnement", prefix=True)]]),
        (
            '"sans engagement" -mobile',
            [[Term("sans engagement", phrase=True), Term("mobile", True)]],
        ),
        ('fibre -"sans engagement"', [[Term("fibre"), Term("sans engagement", True, True)]]),
        ("fibre or câble", [[Term("fibre")], [Term("câble", prefix=True)]]),
        ("fibre or -câble", [[Term("fibre")]]),
        ("e-mail", [[Term("e-mail")]]),
        ('"not closed', [[Term("not closed", phrase=True)]]),
        ("a & b | c:* <-> !", [[Term("a"), Term("b"), Term("c:*")]]),
        ("a\0b\nc", [[Term("a"), Term("b"), Term("c")]]),
    ],
)
def test_what_is_looked_for(text: str, alternatives: list[list[Term]]) -> None:
    assert parse(text) == Query(tuple(map(tuple, alternatives)))


@pytest.mark.parametrize("text", ["", "  ", "-mobile", "or", '""', "!&|", "x" * 301, "a " * 21])
def test_what_cannot_be_looked_for(text: str) -> None:
    with pytest.raises(Invalid, match=r"q: (has no word|is longer|has more)"):
        parse(text)


@given(st.text())
def test_any_text_is_looked_for_or_refused(text: str) -> None:
    with suppress(Invalid):
        assert parse(text).wanted


def test_accents_are_folded_where_they_are_accents() -> None:
    assert fold("Téléphone, Ångström, cœur, ﬁbre") == "Telephone, Angstrom, coeur, fibre"
    assert fold("платёж, мой, їжак") == "платеж, мой, їжак"


def test_a_language_has_its_stems_or_none() -> None:
    assert [configuration(language) for language in ("fr", "pt-BR", "ru", "zh")] == [
        "french",
        "portuguese",
        "russian",
        "simple",
    ]


def test_a_snippet_is_where_most_of_the_words_are() -> None:
    text = "Frais divers. " * 40 + "Les frais de résiliation sont dus. " + "Autre chose. " * 40
    shown = snippet(text, {"frais", "resiliation"})
    assert "frais de résiliation" in shown.text
    assert {shown.text[a:b].lower() for a, b in shown.marks} == {"frais", "résiliation"}


@given(st.text(max_size=900), st.integers(0, 50))
def test_a_snippet_is_a_piece_of_the_text(text: str, number: int) -> None:
    words = text.split()
    wanted = {fold(word).lower() for word in words[number : number + 2]}
    shown = snippet(text, wanted)
    assert len(shown.text) <= SNIPPET
    spaced = "".join(" " if character.isspace() else character for character in text)
    assert shown.text in spaced
    for start, end in shown.marks:
        assert 0 <= start < end <= len(shown.text)
        assert fold(shown.text[start:end]).lower() in wanted


def test_nothing_of_a_text_is_markup() -> None:
    shown = snippet("<b>fibre</b> & <script>", {"fibre"})
    assert shown.text == "<b>fibre</b> & <script>"
    assert shown.marks == ((3, 8),)
