-- Surveys: one row per survey, one per answer, and the results of each version of a questionnaire.
-- An answer that was given again counts once, as it was given last (by version); one that a later
-- answer has dropped, because its question can come no more, does not count.

CREATE OR REPLACE VIEW surveys AS
SELECT
    client_id,
    survey_id,
    max(e.questionnaire_id) AS questionnaire_id,
    max(e.questionnaire_version) AS questionnaire_version,
    max(e.customer_id) AS customer_id,
    max(e.call_id) AS call_id,
    maxIf(e.agent_id, e.event_type = 'SurveyStarted') AS agent_id,
    minOrNullIf(e.occurred_at, e.event_type = 'SurveyStarted') AS started_at,
    minOrNullIf(e.occurred_at, e.event_type = 'SurveyCompleted') AS completed_at,
    minOrNullIf(e.occurred_at, e.event_type = 'SurveyAbandoned') AS abandoned_at,
    maxIf(e.reason, e.event_type = 'SurveyAbandoned') AS abandoned_reason
FROM customer_events AS e
WHERE e.event_type IN ('SurveyStarted', 'SurveyQuestionAnswered', 'SurveyCompleted',
                       'SurveyAbandoned')
GROUP BY client_id, survey_id;

CREATE OR REPLACE VIEW survey_answers AS
SELECT * EXCEPT (last)
FROM
(
    SELECT
        client_id,
        survey_id,
        said.1 AS question_id,
        max(e.questionnaire_id) AS questionnaire_id,
        max(e.questionnaire_version) AS questionnaire_version,
        argMax((said.2, e.options, e.number, e.date, e.occurred_at), e.version) AS last,
        last.2 AS options,
        toFloat64OrNull(last.3) AS number,
        toDate32OrNull(last.4) AS date,
        last.5 AS answered_at
    FROM customer_events AS e
    ARRAY JOIN arrayConcat([(e.question_id, true)],
                           arrayMap(question -> (question, false), e.dropped)) AS said
    WHERE e.event_type = 'SurveyQuestionAnswered'
    GROUP BY client_id, survey_id, question_id
    HAVING last.1
);

-- option: what was chosen, the number or the day; empty for a text, which stays in crm, and for a
-- question that was passed over. Who chose three options is in three rows.
CREATE OR REPLACE VIEW survey_results AS
SELECT
    a.client_id AS client_id,
    a.questionnaire_id AS questionnaire_id,
    a.questionnaire_version AS questionnaire_version,
    a.question_id AS question_id,
    arrayJoin(multiIf(notEmpty(a.options), a.options::Array(String),
                      a.number IS NOT NULL, [toString(a.number)],
                      a.date IS NOT NULL, [toString(a.date)], [''])) AS option,
    count() AS answers,
    countIf(s.completed_at IS NOT NULL) AS answers_of_completed
FROM survey_answers AS a
INNER JOIN surveys AS s ON s.client_id = a.client_id AND s.survey_id = a.survey_id
GROUP BY client_id, questionnaire_id, questionnaire_version, question_id, option;
