"""What people write, and its one form."""

import pytest

from eventkit.decider import Invalid
from services.crm.customers import contact


@pytest.mark.parametrize(
    ("written", "region", "expected"),
    [
        ("06 12 34 56 78", "FR", "+33612345678"),
        ("06.12.34.56.78", "FR", "+33612345678"),
        ("0033 6 12 34 56 78", "FR", "+33612345678"),
        ("+33 (0)6 12 34 56 78", None, "+33612345678"),
        (" +33612345678 ", "RU", "+33612345678"),
        ("8 (912) 345-67-89", "RU", "+79123456789"),
        ("+7 912 345 67 89", None, "+79123456789"),
        ("0532 123 45 67", "TR", "+905321234567"),
        ("(0212) 123 45 67", "TR", "+902121234567"),
        ("020 7946 0958", "GB", "+442079460958"),
        ("(202) 555-0123", "US", "+12025550123"),
        ("٠٥٣٢ ١٢٣ ٤٥ ٦٧", "TR", "+905321234567"),
    ],
)
def test_phone(written: str, region: str | None, expected: str) -> None:
    assert contact.phone(written, region) == expected


@pytest.mark.parametrize(
    ("written", "region", "reason"),
    [
        ("0612345678", None, "needs a known country code"),
        ("+999 123456789", None, "needs a known country code"),
        ("061234", "FR", "no number that its country"),
        ("06 12 34 56 78 90 12", "FR", "no number that its country"),
        ("call me", "FR", "must be a telephone number"),
        ("", "FR", "must be a telephone number"),
        ("+33 1 42 68 53 00 ext. 12", "FR", "without letters or an extension"),
        ("0612345678 ; 0698765432", "FR", "must be a telephone number"),
        ("06\x0012345678", "FR", "must be a telephone number"),
        ("06\ud80012345678", "FR", "must be a telephone number"),
        ("1" * 10_000, "FR", "must be a telephone number"),
    ],
)
def test_no_phone(written: str, region: str | None, reason: str) -> None:
    with pytest.raises(Invalid) as caught:
        contact.phone(written, region, "phones")
    assert caught.value.field == "phones"
    assert reason in caught.value.reason
    assert not written or written not in str(caught.value)


def test_phones_are_given_once() -> None:
    assert contact.phones(["06 12 34 56 78", "+33612345678", "0142685300"], "FR") == (
        "+33612345678",
        "+33142685300",
    )


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        ("Ann.Smith@Example.COM", "Ann.Smith@example.com"),
        ("  a+b_c'd@sub.example.co.uk ", "a+b_c'd@sub.example.co.uk"),
        ("анна@почта.рф", "анна@почта.рф"),
        ("çiğdem@ÖRNEK.com.tr", "çiğdem@örnek.com.tr"),
    ],
)
def test_email(written: str, expected: str) -> None:
    assert contact.email(written) == expected


@pytest.mark.parametrize(
    "written",
    [
        "",
        "nothing",
        "ann@",
        "@example.com",
        "ann@example",
        "ann@@example.com",
        "a b@example.com",
        ".ann@example.com",
        "ann..b@example.com",
        "ann@-example.com",
        "ann@example..com",
        "ann@127.0.0.1",
        "ann@example.com, bob@example.com",
        "x" * 65 + "@example.com",
        "ann@" + "x" * 64 + ".com",
        "ann\x00@example.com",
        "ann\ud800@example.com",
        "ann@" + "example." * 40 + "com",
    ],
)
def test_no_email(written: str) -> None:
    with pytest.raises(Invalid) as caught:
        contact.email(written)
    assert caught.value.field == "emails"
    assert not written or written not in caught.value.reason


def test_emails_that_differ_in_case_are_one() -> None:
    assert contact.emails(["Ann@x.fr", "ann@X.fr", "bob@x.fr"]) == ("Ann@x.fr", "bob@x.fr")


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        # French
        ("Jean-François Lefèvre", ("jean", "francois", "lefevre")),
        ("Anne d'Œuvre", ("anne", "d", "oeuvre")),
        ("L\N{RIGHT SINGLE QUOTATION MARK}Hôpital", ("l", "hopital")),
        ("NOËL Benoît", ("noel", "benoit")),
        # Russian: yo is written ie, short i is a letter of its own
        ("Пётр Семёнов", ("петр", "семенов")),
        ("АНДРЕЙ Чайковский", ("андрей", "чайковский")),
        ("Римский-Корсаков", ("римский", "корсаков")),
        # Turkish: the dotted and the dotless one
        ("İbrahim YILDIZ", ("ibrahim", "yildiz")),
        ("Gülşen Çağlayan", ("gulsen", "caglayan")),
        ("\u0131lgaz Iş\u0131k", ("ilgaz", "isik")),
        # English
        ("Sinéad O'Connor", ("sinead", "o", "connor")),
        ("Dr. John Smith, Jr.", ("dr", "john", "smith", "jr")),
        ("Smith-Jones, Anne-Marie", ("smith", "jones", "anne", "marie")),
        # Others
        ("Łukasz Åström Straße", ("lukasz", "astrom", "strasse")),
        ("Jan Jan", ("jan",)),
        ("  ", ()),
        ("%_ 'x'", ("x",)),
    ],
)
def test_words(name: str, expected: tuple[str, ...]) -> None:
    assert contact.words(name) == expected


def test_composed_and_taken_apart_are_the_same() -> None:
    assert contact.words("Андре\u0438\u0306") == contact.words("Андрей") == ("андрей",)
    assert contact.words("Zoe\u0308") == contact.words("Zoë") == ("zoe",)


def test_a_name_key_has_its_words_in_one_order_and_a_limited_length() -> None:
    assert contact.name_key(contact.words("Marie-Claire Dupont")) == " claire dupont marie"
    long = contact.words(" ".join(chr(0x10400 + i) * 60 for i in range(40)))
    assert len(contact.name_key(long).encode()) < contact.MAX_NAME_KEY


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        ("FR", "fr"),
        ("pt_br", "pt-BR"),
        ("SR-latn-rs", "sr-Latn-RS"),
        ("es-419", "es-419"),
        ("de-ch-1996", "de-CH-1996"),
        (" ", ""),
    ],
)
def test_language(written: str, expected: str) -> None:
    assert contact.language(written) == expected


@pytest.mark.parametrize("written", ["french", "f", "fr-", "fr-FRA", "fr FR", "фр", "e\u0131"])
def test_no_language(written: str) -> None:
    with pytest.raises(Invalid, match="language"):
        contact.language(written)


def test_time_zone() -> None:
    assert contact.time_zone(" Europe/Istanbul ") == "Europe/Istanbul"
    assert contact.time_zone("") == ""
    for no_zone in ("Paris", "localtime", "../../etc/passwd", "Europe/\x00", "+02:00"):
        with pytest.raises(Invalid, match="time_zone"):
            contact.time_zone(no_zone)


def test_channel_and_region() -> None:
    assert contact.channel(" Voice") == "voice"
    assert contact.region("fr") == "FR"
    assert contact.region("") is None
    with pytest.raises(Invalid, match="preferred_channel"):
        contact.channel("pigeon")
    with pytest.raises(Invalid, match="region"):
        contact.region("XX")


@pytest.mark.parametrize("text", ["a\x00b", "a\ud800", "a\x1bb"])
def test_what_is_no_text(text: str) -> None:
    with pytest.raises(Invalid, match="name: has characters that are no text"):
        contact.line(text, "name", contact.MAX_NAME)
    with pytest.raises(Invalid, match="address"):
        contact.lines(text, "address", contact.MAX_ADDRESS)


def test_text() -> None:
    assert contact.line("  Ann\t \u00a0 Smith ", "name", 200) == "Ann Smith"
    assert contact.line("Zoe\u0308", "name", 200) == "Zoë"
    assert contact.lines(" 1 rue A\n75011 Paris\n", "address", 200) == "1 rue A\n75011 Paris"
    with pytest.raises(Invalid, match="more than 200 characters"):
        contact.line("x" * 201, "name", 200)
