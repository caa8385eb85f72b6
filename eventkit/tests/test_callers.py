"""Tokens: what is issued is verified, and everything else is refused."""

import base64
import hmac
import json
import os
from collections.abc import Callable
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)
from hypothesis import given
from hypothesis import strategies as st

from eventkit import settings
from eventkit.callers import (
    MAX_CACHED,
    SECOND,
    SKEW_S,
    Caller,
    Callers,
    Forbidden,
    Role,
    TokenSettings,
    Unauthenticated,
)

NOW = 1_795_000_000 * SECOND
OLD, NEW = os.urandom(32), os.urandom(32)
CLAIMS: dict[str, Any] = {
    "iss": "relais",
    "aud": "relais",
    "sub": "ana",
    "clients": ["acme"],
    "role": "agent",
    "exp": NOW // SECOND + 60,
}
RSA = rsa.generate_private_key(65537, 2048)
EC = ec.generate_private_key(ec.SECP256R1())


def pem(key: Any) -> str:
    return str(
        key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()
    )


def signed(claims: dict[str, Any], key: Any = NEW, algorithm: str = "HS256", **headers: Any) -> str:
    return jwt.encode(claims, key, algorithm, headers=headers or {"kid": "new"})


@pytest.fixture
def callers() -> Callers:
    return Callers({"new": NEW, "old": OLD})


@given(
    name=st.from_regex(r"[A-Za-z0-9][A-Za-z0-9._:+-]{0,127}", fullmatch=True),
    clients=st.one_of(
        st.just(["*"]),
        st.sets(st.from_regex(r"[a-z0-9][a-z0-9-]{0,62}", fullmatch=True), min_size=1).map(sorted),
    ),
    role=st.sampled_from(Role),
    ttl_s=st.integers(1, 10**6),
)
def test_what_is_issued_holds_until_it_expires(
    name: str, clients: list[str], role: Role, ttl_s: int
) -> None:
    callers = Callers({"new": NEW})
    token = callers.issue(name, clients, role, NOW, ttl_s)
    expected = Caller(name, None if clients == ["*"] else frozenset(clients), role)
    for moment in (NOW, NOW + ttl_s * SECOND - 1):
        assert callers.verify(token, moment) == expected
    for _ in range(2):
        with pytest.raises(Unauthenticated, match="expired"):
            callers.verify(token, NOW + ttl_s * SECOND)


def test_a_process_makes_its_own_token_anew_before_it_expires(callers: Callers) -> None:
    class Clock:
        now = NOW

        def now_us(self) -> int:
            return self.now

    clock = Clock()
    own = callers.own("dialer-worker", Role.PARTNER, clock)
    seen = []
    for _ in range(10):
        seen.append(own.header())
        kind, _, token = seen[-1].partition(" ")
        assert kind == "Bearer"
        caller = callers.verify(token, clock.now)
        assert caller == Caller("dialer-worker", None, Role.PARTNER)
        clock.now += 15 * 60 * SECOND
    assert 1 < len(set(seen)) < len(seen), "made anew now and then, and not each time"


def test_secrets_are_replaced_one_after_the_other() -> None:
    token = Callers({"old": OLD}).issue("ana", ["acme"], "agent", NOW, 60)
    both = Callers({"new": NEW, "old": OLD})
    assert both.verify(token, NOW).name == "ana"
    after = Callers({"new": NEW})
    assert after.verify(both.issue("ana", ["acme"], "agent", NOW, 60), NOW).name == "ana"
    with pytest.raises(Unauthenticated):
        after.verify(token, NOW)


@pytest.mark.parametrize(("key", "algorithm"), [(RSA, "RS256"), (EC, "ES256")])
def test_tokens_of_an_identity_provider(key: Any, algorithm: str) -> None:
    callers = Callers({}, pem(key), issuer="https://login.example", audience="centre")
    claims = CLAIMS | {"iss": "https://login.example", "aud": ["centre", "else"]}
    assert callers.verify(signed(claims, key, algorithm, kid="theirs"), NOW).name == "ana"
    with pytest.raises(Unauthenticated):
        callers.verify(signed(claims, type_of(key), algorithm), NOW)
    with pytest.raises(ValueError, match="no secret"):
        callers.issue("ana", ["acme"], "agent", NOW, 60)


def type_of(key: Any) -> Any:
    """Another key of the same kind."""
    if isinstance(key, rsa.RSAPrivateKey):
        return rsa.generate_private_key(65537, 2048)
    return ec.generate_private_key(ec.SECP256R1())


def without(name: str) -> dict[str, Any]:
    return {claim: value for claim, value in CLAIMS.items() if claim != name}


@pytest.mark.parametrize(
    "token",
    [
        "",
        "x",
        "a.b.c",
        "é",
        "\ud800",
        "x" * 10_000,
        signed(CLAIMS, kid="other"),
        signed(CLAIMS, key=os.urandom(32)),
        signed(CLAIMS, key=OLD),
        signed(CLAIMS, algorithm="HS512", key=NEW * 2, kid="new"),
        signed(CLAIMS, key=RSA, algorithm="RS256", kid="new"),
        signed(CLAIMS, typ="JWT"),
        *(signed(without(claim)) for claim in CLAIMS),
        signed(CLAIMS | {"iss": "else"}),
        signed(CLAIMS | {"aud": "else"}),
        signed(CLAIMS | {"aud": ["else"]}),
        signed(CLAIMS | {"sub": "a b"}),
        signed(CLAIMS | {"sub": "ana\n"}),
        signed(CLAIMS | {"sub": ""}),
        signed(CLAIMS | {"clients": []}),
        signed(CLAIMS | {"clients": "acme"}),
        signed(CLAIMS | {"clients": ["*", "acme"]}),
        signed(CLAIMS | {"clients": ["ACME"]}),
        signed(CLAIMS | {"clients": [1]}),
        signed(CLAIMS | {"clients": [["acme"]]}),
        signed(CLAIMS | {"role": "root"}),
        signed(CLAIMS | {"role": ["admin"]}),
        signed(CLAIMS | {"exp": True}),
        signed(CLAIMS | {"exp": str(NOW)}),
        signed(CLAIMS | {"exp": float("nan")}),
        signed(CLAIMS | {"exp": 1e300}),
        signed(CLAIMS | {"nbf": NOW // SECOND + SKEW_S + 1}),
        signed(CLAIMS | {"iat": NOW // SECOND + SKEW_S + 1}),
    ],
)
def test_what_is_refused(callers: Callers, token: str) -> None:
    for _ in range(2):  # nothing of it is remembered as good
        with pytest.raises(Unauthenticated) as refused:
            callers.verify(token, NOW)
        assert not (len(token) > 1 and token in str(refused.value))


def test_a_clock_that_is_a_little_ahead_is_no_reason(callers: Callers) -> None:
    assert callers.verify(signed(CLAIMS | {"iat": NOW // SECOND + SKEW_S}), NOW).name == "ana"


def part(value: Any) -> str:
    return base64.urlsafe_b64encode(json.dumps(value).encode()).decode().rstrip("=")


@pytest.mark.parametrize("algorithm", ["none", "None", "NONE", "nOnE", "", None, 1, []])
def test_a_token_that_is_not_signed_is_refused(algorithm: Any) -> None:
    for callers in (Callers({"new": NEW}), Callers({"new": NEW}, pem(RSA)), Callers({}, pem(RSA))):
        for kid in ({}, {"kid": "new"}):
            for signature in ("", part("x")):
                token = f"{part({'alg': algorithm} | kid)}.{part(CLAIMS)}.{signature}"
                with pytest.raises(Unauthenticated):
                    callers.verify(token, NOW)


@pytest.mark.parametrize("key", [RSA, EC])
def test_a_public_key_is_no_secret(key: Any) -> None:
    """The classic: a token "signed" by HMAC with the public key that everybody can read."""
    public = pem(key)
    for secret in (public, public.strip()):
        for kid in ({}, {"kid": "new"}, {"kid": "pem"}):
            signing = f"{part({'alg': 'HS256'} | kid)}.{part(CLAIMS)}"
            mac = hmac.digest(secret.encode(), signing.encode(), "sha256")
            token = f"{signing}.{base64.urlsafe_b64encode(mac).decode().rstrip('=')}"
            for callers in (Callers({}, public), Callers({"new": NEW}, public)):
                with pytest.raises(Unauthenticated):
                    callers.verify(token, NOW)
    with pytest.raises(ValueError, match="key file"):
        Callers({"pem": public.encode()})


def test_a_changed_token_is_refused(callers: Callers) -> None:
    header, claims, signature = signed(CLAIMS).split(".")
    admin = part(CLAIMS | {"role": "admin", "clients": ["*"]})
    assert callers.verify(f"{header}.{claims}.{signature}", NOW).role is Role.AGENT
    with pytest.raises(Unauthenticated):
        callers.verify(f"{header}.{admin}.{signature}", NOW)


def test_the_cache_is_bounded() -> None:
    callers = Callers({"new": NEW})
    first = callers.issue("first", ["acme"], "agent", NOW, 60)
    callers.verify(first, NOW)
    entry = next(iter(callers._seen.values()))
    callers._seen |= {f"token-{n}": entry for n in range(MAX_CACHED - 1)}
    callers.verify(callers.issue("last", ["acme"], "agent", NOW, 60), NOW)
    assert len(callers._seen) == MAX_CACHED
    assert first not in callers._seen
    assert callers.verify(first, NOW).name == "first"


def test_roles() -> None:
    partner, agent, supervisor, admin = Role
    assert Caller("a", None, admin).may(supervisor)
    assert Caller("a", None, agent).may("partner")
    assert not Caller("a", None, partner).may("agent")
    with pytest.raises(Forbidden, match="supervisor"):
        Caller("a", None, agent).must(supervisor)
    assert Caller("a", None, agent).sees("any")
    assert not Caller("a", frozenset({"acme"}), admin).sees("globex")


@pytest.mark.parametrize(
    "weak",
    [
        lambda: Callers({}),
        lambda: Callers({"a": b"x" * 31}),
        lambda: Callers({}, "nonsense"),
        lambda: Callers({}, pem(rsa.generate_private_key(65537, 1024))),
        lambda: Callers({}, pem(ec.generate_private_key(ec.SECP384R1()))),
        lambda: Callers(
            {}, RSA.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()
        ),
    ],
)
def test_weak_keys_are_refused(weak: Callable[[], Callers]) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 - each has its own words
        weak()


@pytest.mark.parametrize(
    "arguments",
    [("a b", ["acme"], "agent"), ("ana", [], "agent"), ("ana", ["A"], "agent"), ("ana", ["a"], "")],
)
def test_nothing_is_issued_that_would_be_refused(
    callers: Callers, arguments: tuple[str, list[str], str]
) -> None:
    with pytest.raises(ValueError, match=r"sub|clients|role"):
        callers.issue(*arguments, NOW, 60)


def b64(value: bytes) -> str:
    return base64.b64encode(value).decode()


@pytest.mark.parametrize(
    ("variables", "told"),
    [
        ({}, "RELAIS_TOKEN_SECRETS: neither a secret nor a public key"),
        ({"SECRETS": f"a:{b64(b'short')}"}, "RELAIS_TOKEN_SECRETS: secret 'a' is shorter"),
        ({"SECRETS": b64(OLD)}, "RELAIS_TOKEN_SECRETS: entry 1 is not of the form id:base64"),
        ({"SECRETS": "a:%%%"}, "RELAIS_TOKEN_SECRETS: what follows 'a' is not base64"),
        ({"SECRETS": f"a:{b64(OLD)},a:{b64(NEW)}"}, "RELAIS_TOKEN_SECRETS: 'a' is there twice"),
        ({"PUBLIC_KEY": "x"}, "RELAIS_TOKEN_PUBLIC_KEY: not a public key in PEM"),
    ],
)
def test_settings_are_checked_at_the_start(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    variables: dict[str, str],
    told: str,
) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(f"RELAIS_TOKEN_{name}", value)
    with pytest.raises(SystemExit):
        settings.load(TokenSettings)
    said = capsys.readouterr().err
    assert said.startswith(told)
    assert not any(value in said for value in variables.values() if len(value) > 1)
    assert len(said.splitlines()) == 1


def test_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RELAIS_TOKEN_SECRETS", f"b:{b64(NEW)}, a:{b64(OLD).rstrip('=')}")
    read = settings.load(TokenSettings)
    assert b64(NEW) not in repr(read)
    assert b64(NEW) not in str(read.model_dump())
    token = read.callers().issue("ana", ["acme"], "agent", NOW, 60)
    assert jwt.get_unverified_header(token)["kid"] == "b"
    assert Callers({"b": NEW}).verify(token, NOW).name == "ana"
    # As a variable often has it: on one line.
    monkeypatch.setenv("RELAIS_TOKEN_PUBLIC_KEY", pem(EC).replace("\n", "\\n"))
    monkeypatch.delenv("RELAIS_TOKEN_SECRETS")
    theirs = signed(CLAIMS, EC, "ES256", kid="theirs")
    assert settings.load(TokenSettings).callers().verify(theirs, NOW).name == "ana"
