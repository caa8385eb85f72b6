"""Who calls: a bearer token (JWT) names the caller, the clients that they may see, and their role.

Tokens are signed by us (HS256; several secrets, so that one can be replaced while the others'
tokens still hold), or by an identity provider whose public key we have (RS256 or ES256).

    callers = load(TokenSettings).callers()
    token = callers.issue("ana", ["acme"], Role.AGENT, now_us, ttl_s=12 * 3600)
    callers.verify(token, now_us)       # Caller(name="ana", clients=frozenset({"acme"}), ...)

Neither tokens nor secrets are ever part of an error's text.
"""

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import jwt
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, EllipticCurvePublicKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from cryptography.hazmat.primitives.serialization import load_pem_public_key
from pydantic import Field, SecretStr, ValidationInfo, field_validator

from eventkit.clock import Clock
from eventkit.namedsecrets import parse_secrets
from eventkit.settings import Settings

SECOND = 1_000_000
SKEW_S = 30
"""How far an issuer's clock may be ahead of ours."""
MAX_TOKEN = 8 << 10
MAX_CACHED = 10_000
OWN_TTL_S = 3600.0
MIN_SECRET = 32
"""Bytes: an HMAC-SHA256 secret that is shorter can be weaker than the hash."""
MIN_RSA = 2048
ISSUER = "relais"
EVERY_CLIENT = "*"

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:+-]{0,127}")
_CLIENT = re.compile(r"[a-z0-9][a-z0-9-]{0,62}")


class Unauthenticated(Exception):
    """No token, or none that holds: HTTP 401, gRPC UNAUTHENTICATED. `given`: there was one."""

    def __init__(self, reason: str, given: bool = True) -> None:
        super().__init__(reason)
        self.given = given


class Forbidden(Exception):
    """The caller is known, and their role is too low: HTTP 403, gRPC PERMISSION_DENIED."""


class Role(StrEnum):
    """From the least to the most: each may do what those before it may."""

    PARTNER = "partner"
    """A partner's system: looks up, upserts, opens; only where an endpoint says so."""
    AGENT = "agent"
    SUPERVISOR = "supervisor"
    ADMIN = "admin"

    @property
    def rank(self) -> int:
        return _RANKS[self]


_RANKS = {role: rank for rank, role in enumerate(Role)}


@dataclass(frozen=True, slots=True)
class Caller:
    """clients: those that the caller may see; None is every client, and what is the centre's."""

    name: str
    clients: frozenset[str] | None
    role: Role

    def sees(self, client_id: str) -> bool:
        return self.clients is None or client_id in self.clients

    def may(self, role: Role | str) -> bool:
        """Whether the caller's role is this one or a higher one."""
        return self.role.rank >= Role(role).rank

    def must(self, role: Role | str) -> None:
        """Raise Forbidden unless the caller may."""
        if not self.may(role):
            raise Forbidden(f"needs the role {Role(role).value}")


class Callers:
    """secrets: by their id, the first signs; each at least 32 bytes. public_key: PEM.

    Raises ValueError for secrets and keys that are too weak or of a kind that is not used.
    """

    def __init__(
        self,
        secrets: Mapping[str, bytes],
        public_key: str | None = None,
        issuer: str = ISSUER,
        audience: str = ISSUER,
    ) -> None:
        if not secrets and public_key is None:
            raise ValueError("neither a secret nor a public key")
        for kid, secret in secrets.items():
            if len(secret) < MIN_SECRET:
                raise ValueError(f"secret {kid!r} is shorter than {MIN_SECRET} bytes")
            if secret.lstrip().startswith((b"-----BEGIN", b"ssh-")):
                raise ValueError(f"secret {kid!r} is no random secret but a key file")
        self._secrets = dict(secrets)
        # The algorithm follows from the key that we hold, never from what a token says.
        self._public = None if public_key is None else _public_key(public_key)
        self._issuer = issuer
        self._audience = audience
        self._seen: dict[str, tuple[Caller, int]] = {}

    def verify(self, token: str, now: int) -> Caller:
        """The caller that a token names; now: microseconds since 1970. Raises Unauthenticated."""
        seen = self._seen.get(token)
        if seen is None:
            seen = self._verified(token, now)
            while len(self._seen) >= MAX_CACHED:
                del self._seen[next(iter(self._seen))]
            self._seen[token] = seen
        caller, expires = seen
        if now >= expires:
            self._seen.pop(token, None)
            raise Unauthenticated("the token has expired")
        return caller

    def issue(
        self, name: str, clients: Collection[str], role: Role | str, now: int, ttl_s: float
    ) -> str:
        """A token; clients: ids, or ["*"] for every client. Raises ValueError for a name, client
        or role that verify would refuse, and where there is no secret to sign with."""
        if not self._secrets:
            raise ValueError("tokens are issued elsewhere: there is no secret to sign with")
        claims = {
            "iss": self._issuer,
            "aud": self._audience,
            "sub": name,
            "clients": sorted(clients),
            "role": str(role),
            "iat": now // SECOND,
            "exp": now // SECOND + int(ttl_s),
        }
        _caller(claims)
        kid, secret = next(iter(self._secrets.items()))
        return jwt.encode(claims, secret, "HS256", headers={"kid": kid})

    def own(self, name: str, role: Role, clock: Clock) -> "OwnToken":
        """A process' own, for every client."""
        return OwnToken(self, name, role, clock)

    def _verified(self, token: str, now: int) -> tuple[Caller, int]:
        if len(token) > MAX_TOKEN:
            raise Unauthenticated("the token is too long")
        try:
            key, algorithm = self._key(jwt.get_unverified_header(token))
            claims: dict[str, Any] = jwt.decode(
                token,
                key,
                algorithms=[algorithm],
                audience=self._audience,
                issuer=self._issuer,
                # The times are checked below, against the caller's clock.
                options={
                    "require": ["exp", "iss", "aud", "sub"],
                    "verify_exp": False,
                    "verify_nbf": False,
                    "verify_iat": False,
                },
            )
        except jwt.InvalidSignatureError:
            raise Unauthenticated("the token is not signed by the key that it names") from None
        except jwt.MissingRequiredClaimError as error:
            raise Unauthenticated(f"the token lacks the claim {error.claim}") from None
        except (jwt.InvalidIssuerError, jwt.InvalidAudienceError):
            raise Unauthenticated("the token is from another issuer, or for others") from None
        except (jwt.PyJWTError, ValueError):
            raise Unauthenticated("the token is none that we accept") from None
        for claim in ("nbf", "iat"):
            if claim in claims and _time(claims, claim) > now + SKEW_S * SECOND:
                raise Unauthenticated("the token is not valid yet")
        try:
            return _caller(claims), _time(claims, "exp")
        except ValueError as error:
            raise Unauthenticated(f"the token's claim {error}") from None

    def _key(self, header: Mapping[str, Any]) -> tuple[Any, str]:
        algorithm, kid = header.get("alg"), header.get("kid")
        if algorithm == "HS256" and isinstance(kid, str) and kid in self._secrets:
            return self._secrets[kid], "HS256"
        if self._public is not None and algorithm == self._public[1]:
            return self._public
        raise Unauthenticated("the token names no key and algorithm that we accept")


def _public_key(pem: str) -> tuple[RSAPublicKey | EllipticCurvePublicKey, str]:
    try:
        key = load_pem_public_key(pem.replace("\\n", "\n").encode())
    except (ValueError, UnsupportedAlgorithm):
        raise ValueError("not a public key in PEM") from None
    if isinstance(key, RSAPublicKey):
        if key.key_size < MIN_RSA:
            raise ValueError(f"an RSA key of less than {MIN_RSA} bits")
        return key, "RS256"
    if isinstance(key, EllipticCurvePublicKey) and isinstance(key.curve, SECP256R1):
        return key, "ES256"
    raise ValueError("neither an RSA key nor one of the curve P-256")


def _time(claims: Mapping[str, Any], claim: str) -> int:
    value = claims[claim]
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < 1e11:
        raise Unauthenticated(f"the token's claim {claim}: no time in seconds")
    return int(value * SECOND)


def _caller(claims: Mapping[str, Any]) -> Caller:
    """Raises ValueError, which names the claim and the reason."""
    name, clients, role = claims["sub"], claims.get("clients"), claims.get("role")
    if not (isinstance(name, str) and _NAME.fullmatch(name)):
        raise ValueError("sub: no id")
    if not (isinstance(clients, list) and clients and all(isinstance(c, str) for c in clients)):
        raise ValueError("clients: no list of client ids")
    everyone = clients == [EVERY_CLIENT]
    if not everyone and not all(_CLIENT.fullmatch(client) for client in clients):
        raise ValueError("clients: has something that is no client id")
    if not (isinstance(role, str) and role in _RANKS):
        raise ValueError(f"role: none of {', '.join(Role)}")
    return Caller(name, None if everyone else frozenset(clients), Role(role))


class TokenSettings(Settings):
    """A process that is called. One of the two must be set."""

    token_public_key: str | None = None
    """RELAIS_TOKEN_PUBLIC_KEY: the identity provider's public key (PEM, RSA or P-256)."""
    token_secrets: SecretStr = Field(default=SecretStr(""), validate_default=True)
    """RELAIS_TOKEN_SECRETS: id:base64,id:base64; the first signs, all verify."""
    token_issuer: str = ISSUER
    token_audience: str = ISSUER

    @field_validator("token_public_key")
    @classmethod
    def _is_public_key(cls, value: str | None) -> str | None:
        if value is not None:
            _public_key(value)
        return value

    @field_validator("token_secrets")
    @classmethod
    def _are_secrets(cls, value: SecretStr, info: ValidationInfo) -> SecretStr:
        # Where the public key itself is wrong, that alone is said.
        if value.get_secret_value() or info.data.get("token_public_key", "") is None:
            Callers(parse_secrets(value.get_secret_value()))
        return value

    def callers(self) -> Callers:
        return Callers(
            parse_secrets(self.token_secrets.get_secret_value()),
            self.token_public_key,
            self.token_issuer,
            self.token_audience,
        )


class OwnToken:
    """The bearer of a process that calls another service; made anew long before it expires."""

    def __init__(self, callers: Callers, name: str, role: Role, clock: Clock) -> None:
        self._callers = callers
        self._name = name
        self._role = role
        self._clock = clock
        self._token = ""
        self._renew_at = 0

    def header(self) -> str:
        """Of `authorization`. Raises ValueError: see Callers.issue."""
        now = self._clock.now_us()
        if now >= self._renew_at:
            self._token = self._callers.issue(
                self._name, [EVERY_CLIENT], self._role, now, OWN_TTL_S
            )
            self._renew_at = now + int(OWN_TTL_S * SECOND / 2)
        return f"Bearer {self._token}"
