"""The whole OpenAPI document of a service against its real process."""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field

import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis.errors import Unsatisfiable
from schemathesis import Case, GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.core.failures import FailureGroup
from schemathesis.schemas import APIOperation
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from eventkit.clock import SystemClock
from relaisctl.clients import Client, register
from relaisctl.stack import Stack
from tests.integration.conftest import Engines, token_of

OURS, THEIRS = "openapi", "somebody-else"
OF_A_CLIENT = "/v1/clients/{client_id}/"
PROMISES = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
]
MODES = [(GenerationMode.POSITIVE, 8), (GenerationMode.NEGATIVE, 4)]
"""What is right by the document, and what is wrong; how many of each are tried per operation."""


@dataclass(frozen=True)
class Edge:
    """A process that answers HTTP.

    headers  those of an admin of the client OURS
    known    path parameters that lead to something which is there: every other request has them
    """

    url: str
    schema: schemathesis.BaseSchema
    headers: dict[str, str]
    known: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def of(cls, stack: Engines, services: Stack, process: str) -> "Edge":
        """Starts the process; both clients are registered."""
        for client_id in (OURS, THEIRS):
            client = Client(client_id, client_id.title(), "Europe/Paris")
            asyncio.run(register(stack.kafka, client, SystemClock()))
        services.start([process])
        url = services.addresses[process]
        headers = {"Authorization": f"Bearer {token_of(services, [OURS])}"}
        return cls(url, schemathesis.openapi.from_url(f"{url}/openapi.json"), headers)

    @property
    def operations(self) -> list[APIOperation]:
        return [found.ok() for found in self.schema.get_all_operations()]

    @property
    def of_a_client(self) -> list[APIOperation]:
        return [each for each in self.operations if each.path.startswith(OF_A_CLIENT)]

    def broken_promises(self) -> tuple[int, dict[str, str]]:
        """Asks every operation; how many requests it took, and by operation what it answered that
        the document does not say."""
        wrong: dict[str, str] = {}
        asked, last = 0, None
        for operation in self.operations:
            for mode, examples in MODES:

                @_quietly(examples)
                @given(case=operation.as_strategy(generation_mode=mode))
                def ask(case: Case) -> None:
                    nonlocal asked, last
                    asked += 1
                    last = case
                    # Otherwise nearly every answer would be that there is no such client.
                    if "client_id" in case.path_parameters:
                        case.path_parameters["client_id"] = OURS
                    if asked % 2:
                        there = case.path_parameters.keys() & self.known.keys()
                        case.path_parameters |= {name: self.known[name] for name in there}
                    case.call_and_validate(headers=self.headers, checks=PROMISES)

                try:
                    ask()
                except FailureGroup as failures:
                    assert last is not None
                    what = [f"{each}: {each.message}" for each in failures.exceptions]
                    wrong[operation.label] = "\n".join([*what, last.as_curl_command()])
                except Unsatisfiable:  # nothing can be wrong with a request that has nothing in it
                    assert mode is GenerationMode.NEGATIVE
        return asked, wrong

    def statuses_of_theirs(self) -> dict[str, int]:
        """Asks every operation of a client for THEIRS; the answers' status by operation."""
        answered: dict[str, int] = {}
        for operation in self.of_a_client:

            @_quietly(1)
            @given(case=operation.as_strategy(generation_mode=GenerationMode.POSITIVE))
            def ask(case: Case) -> None:
                case.path_parameters["client_id"] = THEIRS
                answered[case.operation.label] = case.call(headers=self.headers).status_code

            ask()
        return answered


def _quietly(examples: int) -> settings:
    return settings(
        max_examples=examples,
        deadline=None,
        database=None,
        derandomize=True,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
