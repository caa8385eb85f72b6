"""The whole OpenAPI document of crm against its real process: whatever is asked, no 5xx, and every
answer is one that the document promises. And what is another client's is not there."""

import asyncio
from dataclasses import dataclass

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis.errors import Unsatisfiable
from schemathesis import Case, GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.core.failures import FailureGroup
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
class Crm:
    url: str
    schema: schemathesis.BaseSchema
    ours: dict[str, str]
    theirs: dict[str, str]


@pytest.fixture(scope="module")
def crm(stack: Engines, services: Stack) -> Crm:
    for client_id in (OURS, THEIRS):
        client = Client(client_id, client_id.title(), "Europe/Paris")
        asyncio.run(register(stack.kafka, client, SystemClock()))
    services.start(["crm-api"])
    url = services.addresses["crm-api"]
    headers = [
        {"Authorization": f"Bearer {token_of(services, [client])}"} for client in (OURS, THEIRS)
    ]
    return Crm(url, schemathesis.openapi.from_url(f"{url}/openapi.json"), *headers)


def operations(crm: Crm) -> list[schemathesis.schemas.APIOperation]:
    return [found.ok() for found in crm.schema.get_all_operations()]


def quietly(examples: int) -> settings:
    return settings(
        max_examples=examples,
        deadline=None,
        database=None,
        derandomize=True,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )


@pytest.mark.timeout(900)
def test_every_answer_is_one_that_the_document_promises(crm: Crm) -> None:
    wrong: dict[str, str] = {}
    asked = 0
    for operation in operations(crm):
        for mode, examples in MODES:

            @quietly(examples)
            @given(case=operation.as_strategy(generation_mode=mode))
            def ask(case: Case) -> None:
                nonlocal asked
                asked += 1
                # Otherwise nearly every answer would be that there is no such client.
                if "client_id" in case.path_parameters:
                    case.path_parameters["client_id"] = OURS
                case.call_and_validate(headers=crm.ours, checks=PROMISES)

            try:
                ask()
            except FailureGroup as failures:
                wrong[operation.label] = "\n".join(str(each) for each in failures.exceptions)
            except Unsatisfiable:  # nothing can be wrong with a request that has nothing in it
                assert mode is GenerationMode.NEGATIVE
    assert asked > 8 * len(operations(crm)) > 800
    assert not wrong, "\n\n".join(f"{label}\n{what}" for label, what in wrong.items())


def test_what_is_anothers_is_not_there(crm: Crm) -> None:
    of_a_client = [each for each in operations(crm) if each.path.startswith(OF_A_CLIENT)]
    assert len(of_a_client) > 70
    answered: dict[str, int] = {}
    for operation in of_a_client:

        @quietly(1)
        @given(case=operation.as_strategy(generation_mode=GenerationMode.POSITIVE))
        def ask(case: Case) -> None:
            case.path_parameters["client_id"] = THEIRS
            answered[case.operation.label] = case.call(headers=crm.ours).status_code

        ask()
    assert {label for label, status in answered.items() if status != 404} == set()
    assert len(answered) == len(of_a_client)
