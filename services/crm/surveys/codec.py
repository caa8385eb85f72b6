"""customer-events of surveys: options, numbers and dates, and never the customer's own words."""

from typing import Any, Final

from relais.customers.v1.events_pb2 import CustomerEvent

from eventkit.eventstore import Recorded
from services.crm.codec import meta_of
from services.crm.surveys import survey as s

TOPIC: Final = "customer-events"


def message(recorded: Recorded[s.Event]) -> bytes:
    """What is published of an event."""
    about = recorded.event.about
    sent = CustomerEvent(
        meta=meta_of(recorded), customer_id=about.customer_id, call_id=about.call_id
    )
    name, values = _body(recorded.event)
    body = getattr(sent, name)
    body.survey_id = recorded.stream_id.rpartition("/")[2]
    body.questionnaire_id = about.questionnaire_id
    body.questionnaire_version = about.questionnaire_version
    for field, value in values.items():
        if isinstance(value, tuple):
            getattr(body, field).extend(value)
        else:
            setattr(body, field, value)
    return sent.SerializeToString(deterministic=True)


def _body(event: s.Event) -> tuple[str, dict[str, Any]]:
    match event:
        case s.SurveyStarted():
            return "survey_started", {"agent_id": event.agent_id}
        case s.SurveyQuestionAnswered():
            return "survey_question_answered", {
                "question_id": event.question_id,
                "options": event.options,
                "number": "" if event.number is None else format(event.number, "f"),
                "date": "" if event.day is None else event.day.isoformat(),
                "dropped": event.dropped,
            }
        case s.SurveyCompleted():
            return "survey_completed", {}
        case s.SurveyAbandoned():
            return "survey_abandoned", {"reason": event.reason.value}
