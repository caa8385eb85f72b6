"""The HTTP APIs of services for commands.

    async with CrmClient("acme") as crm:
        answer = await crm.post("/v1/clients/acme/customers/find", {"phone": "+33..."})
        async for complaint in crm.items("/v1/clients/acme/complaints"): ...

The token is RELAIS_TOKEN, or is signed here with the environment's or the local stack's secret.
What a service refuses is a Refusal (an InputError); that it does not answer, an UnreachableError.
"""

import asyncio
import os
import uuid
from collections.abc import AsyncIterator
from types import TracebackType
from typing import Any, ClassVar, Self

import httpx

from eventkit.callers import SECOND, Role
from eventkit.clock import Clock, SystemClock
from relaisctl.errors import InputError, UnreachableError
from relaisctl.local import service_url
from relaisctl.token import make_token

NAME = "relaisctl"
TOKEN_HOURS = 1.0
TIMEOUT_S = 30.0
PATIENCE_S = 30.0
"""How long one request is tried again while the service does not answer."""
FIRST_WAIT_S = 0.2
LONGEST_WAIT_S = 2.0
CONNECTIONS = 50
PAGE = 200


class Refusal(InputError):
    """A service's problem document. `errors`: (field, reason) pairs; field is "" where it is no
    field's fault. Nothing of what was sent is in it. problem: all of it, with what helps to go on.
    """

    def __init__(
        self, status: int, errors: list[tuple[str, str]], problem: dict[str, Any] | None = None
    ) -> None:
        super().__init__("; ".join(f"{field}: {why}" if field else why for field, why in errors))
        self.status = status
        self.errors = errors
        self.problem = problem or {}

    @property
    def field(self) -> str:
        return self.errors[0][0]

    @property
    def reason(self) -> str:
        return self.errors[0][1]


class ApiClient:
    """One of the subclasses. client_id: whom the token is for, when it is signed here; None: every
    client. url: where the service listens; None: as the environment or the local stack says."""

    service: ClassVar[str]

    def __init__(
        self,
        client_id: str | None,
        role: Role = Role.ADMIN,
        url: str | None = None,
        clock: Clock | None = None,
        patience_s: float = PATIENCE_S,
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        self.url = url or service_url(self.service)
        self._clients = ["*"] if client_id is None else [client_id]
        self._role = role
        self._clock = clock or SystemClock()
        self._patience_s = patience_s
        self._token = os.environ.get("RELAIS_TOKEN", "")
        self._renew_at = None if self._token else 0
        self._http = httpx.AsyncClient(
            base_url=self.url,
            timeout=TIMEOUT_S,
            transport=transport,
            limits=httpx.Limits(max_connections=CONNECTIONS),
            trust_env=False,
        )

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self._http.aclose()

    async def get(self, path: str, **query: str | int) -> Any:
        return await self.request("GET", path, query=query)

    async def post(self, path: str, body: Any = None, key: str | None = None) -> Any:
        """key: the Idempotency-Key; a fresh one if left out. Trying again has one effect."""
        return await self.request("POST", path, body, key)

    async def put(self, path: str, body: Any = None, key: str | None = None) -> Any:
        return await self.request("PUT", path, body, key)

    async def delete(self, path: str, key: str | None = None) -> Any:
        return await self.request("DELETE", path, key=key)

    async def items(self, path: str, **query: str | int) -> AsyncIterator[Any]:
        """All items of a listing, page by page."""
        query.setdefault("limit", PAGE)
        while True:
            page = await self.get(path, **query)
            for item in page["items"]:
                yield item
            if page["next"] is None:
                return
            query["cursor"] = page["next"]

    async def first(self, limit: int, path: str, **asked: str | None) -> list[Any]:
        """The first items of a listing, so many at most. asked: the query; None is not asked."""
        query: dict[str, str | int] = {
            name: value for name, value in asked.items() if value is not None
        }
        found: list[Any] = []
        async for item in self.items(path, **query):
            found.append(item)
            if len(found) == limit:
                break
        return found

    async def request(
        self,
        method: str,
        path: str,
        body: Any = None,
        key: str | None = None,
        query: dict[str, str | int] | None = None,
    ) -> Any:
        """The answer's JSON; None when it has none. Raises Refusal and UnreachableError."""
        headers = {} if method == "GET" else {"Idempotency-Key": key or str(uuid.uuid4())}
        loop = asyncio.get_running_loop()
        give_up_at = loop.time() + self._patience_s
        wait_s = FIRST_WAIT_S
        while True:
            headers["Authorization"] = f"Bearer {self._fresh_token()}"
            try:
                answer = await self._http.request(
                    method, path, json=body, headers=headers, params=query
                )
                if answer.status_code != httpx.codes.SERVICE_UNAVAILABLE:
                    return self._json_of(answer)
                trouble = _detail(answer)
            except httpx.TransportError as error:
                trouble = f"does not answer ({type(error).__name__}); does it run?"
            if loop.time() + wait_s > give_up_at:
                raise UnreachableError(f"{self.service} at {self.url}: {trouble}")
            await asyncio.sleep(wait_s)
            wait_s = min(2 * wait_s, LONGEST_WAIT_S)

    def _fresh_token(self) -> str:
        now = self._clock.now_us()
        if self._renew_at is not None and now >= self._renew_at:
            self._token = make_token(self._clients, self._role, NAME, TOKEN_HOURS, self._clock)
            self._renew_at = now + int(TOKEN_HOURS * 1800 * SECOND)
        return self._token

    def _json_of(self, answer: httpx.Response) -> Any:
        if answer.is_success:
            return answer.json() if answer.content else None
        if answer.is_server_error or not _is_problem(answer):
            what = f"{answer.status_code} {_detail(answer)}"
            raise UnreachableError(f"{self.service} at {self.url}: {what}")
        problem = answer.json()
        errors = [(each["field"], each["reason"]) for each in problem.get("errors", ())]
        raise Refusal(answer.status_code, errors or [("", problem["detail"])], problem)


class CrmClient(ApiClient):
    service = "crm"


class OrdersClient(ApiClient):
    service = "orders"


class DialerClient(ApiClient):
    service = "dialer"


def _detail(answer: httpx.Response) -> str:
    return str(answer.json()["detail"]) if _is_problem(answer) else answer.reason_phrase


def _is_problem(answer: httpx.Response) -> bool:
    return str(answer.headers.get("content-type")).startswith("application/problem+json")
