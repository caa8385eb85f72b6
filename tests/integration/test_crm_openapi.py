"""The whole OpenAPI document of crm against its real process: whatever is asked, no 5xx, and every
answer is one that the document promises. And what is another client's is not there."""

import pytest

from relaisctl.stack import Stack
from tests.integration.conftest import Engines
from tests.integration.openapi import Edge


@pytest.fixture(scope="module")
def crm(stack: Engines, services: Stack) -> Edge:
    return Edge.of(stack, services, "crm-api")


@pytest.mark.timeout(900)
def test_every_answer_is_one_that_the_document_promises(crm: Edge) -> None:
    asked, wrong = crm.broken_promises()
    assert asked > 8 * len(crm.operations) > 800
    assert not wrong, "\n\n".join(f"{label}\n{what}" for label, what in wrong.items())


def test_what_is_anothers_is_not_there(crm: Edge) -> None:
    answered = crm.statuses_of_theirs()
    assert {label for label, status in answered.items() if status != 404} == set()
    assert len(answered) == len(crm.of_a_client) > 70
