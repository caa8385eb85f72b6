-- Complaints and wishes: one row each, made of its events when asked for.
--
-- They are few beside calls, so no facts are kept: the views fold the events, read with FINAL. "Last"
-- means the greatest version, so neither order nor copies change a row.

CREATE TABLE IF NOT EXISTS complaint_events
(
    event_id               UUID DEFAULT toUUIDOrZero(event_id_text),
    event_id_text          String EPHEMERAL,
    client_id              LowCardinality(String),
    complaint_id           String COMMENT 'the wish, where the event is one of a wish',
    version                Int64,
    event_type             LowCardinality(String),
    occurred_at            DateTime64(6, 'UTC'),
    recorded_at            DateTime64(6, 'UTC'),
    actor                  LowCardinality(String),
    correlation_id         String,
    causation_id           String,
    customer_id            String,
    source                 LowCardinality(String),
    about_kind             LowCardinality(String),
    about_id               String,
    severity               LowCardinality(String),
    channel                LowCardinality(String),
    reference              String,
    call_id                String,
    due_first_response     DateTime64(6, 'UTC'),
    due_resolution         DateTime64(6, 'UTC'),
    date_corrected         Bool,
    assignee               LowCardinality(String),
    reason                 LowCardinality(String),
    reasons                Array(LowCardinality(String)),
    responsible_kind       LowCardinality(String),
    responsible_id         String,
    remedy                 LowCardinality(String),
    amount                 String COMMENT 'a decimal',
    currency               LowCardinality(String),
    first_response_took_us Int64,
    resolution_took_us     Int64,
    clock                  LowCardinality(String),
    policy_version         Int64,
    topic_id               LowCardinality(String),
    supporters             Int64,
    into_wish_id           String,
    from_wish_id           String,
    outcome                LowCardinality(String),
    payload                String COMMENT 'the message as received, where its body is of an unknown type',
    kafka_partition        UInt16,
    kafka_offset           Int64
)
ENGINE = ReplacingMergeTree
ORDER BY (client_id, complaint_id, event_id)
SETTINGS non_replicated_deduplication_window = 1000;

-- As it stood at a moment: of what had happened by then. A clock ran out when it ran out, whenever
-- that was noticed. An appeal takes the verdict away; after a reopening it stands until the next.
CREATE OR REPLACE VIEW complaints_at AS
SELECT * EXCEPT (turn, judged, took)
FROM
(
    SELECT
        client_id,
        complaint_id,
        maxIf(e.customer_id, e.event_type = 'ComplaintOpened') AS customer_id,
        maxIf(e.source, e.event_type = 'ComplaintOpened') AS source,
        maxIf(e.channel, e.event_type = 'ComplaintOpened') AS channel,
        maxIf(e.reference, e.event_type = 'ComplaintOpened') AS reference,
        maxIf(e.call_id, e.event_type = 'ComplaintOpened') AS call_id,
        maxIf(e.about_kind, e.event_type = 'ComplaintOpened') AS about_kind,
        maxIf(e.about_id, e.event_type = 'ComplaintOpened') AS about_id,
        maxIf(e.date_corrected, e.event_type = 'ComplaintOpened') AS date_corrected,
        argMaxIf(e.severity, e.version,
                 e.event_type IN ('ComplaintOpened', 'ComplaintSeverityChanged')) AS severity,
        argMaxIf(e.assignee, e.version, e.event_type = 'ComplaintAssigned') AS assignee,

        argMaxIf(e.event_type, e.version,
                 e.event_type IN ('ComplaintOpened', 'ComplaintUpheld', 'ComplaintRejected',
                                  'ComplaintClosed', 'ComplaintAppealed', 'ComplaintReopened'))
            AS turn,
        multiIf(turn = 'ComplaintClosed', 'closed',
                turn IN ('ComplaintUpheld', 'ComplaintRejected'), 'decided', 'open') AS state,
        argMaxIf(e.event_type, e.version,
                 e.event_type IN ('ComplaintPaused', 'ComplaintResumed', 'ComplaintClosed',
                                  'ComplaintAppealed', 'ComplaintReopened')) = 'ComplaintPaused'
            AS waiting,
        argMaxIf((e.event_type, e.reasons, e.responsible_kind, e.responsible_id, e.occurred_at),
                 e.version,
                 e.event_type IN ('ComplaintUpheld', 'ComplaintRejected', 'ComplaintAppealed'))
            AS judged,
        multiIf(judged.1 = 'ComplaintUpheld', 'upheld', judged.1 = 'ComplaintRejected', 'rejected',
                'none') AS verdict,
        judged.2 AS reasons,
        judged.3 AS responsible_kind,
        judged.4 AS responsible_id,

        minOrNullIf(e.occurred_at, e.event_type = 'ComplaintOpened') AS opened_at,
        minOrNullIf(e.occurred_at, e.event_type = 'ComplaintAcknowledged') AS acknowledged_at,
        if(verdict = 'none', NULL, judged.5) AS decided_at,
        if(state = 'closed', maxIf((e.version, e.occurred_at), e.event_type = 'ComplaintClosed').2,
           NULL) AS closed_at,
        countIf(e.event_type = 'ComplaintAppealed') AS appealed,
        countIf(e.event_type = 'ComplaintReopened') AS reopened,

        argMaxOrNullIf(e.due_first_response, e.version, e.due_first_response > 0)
            AS due_first_response,
        argMaxOrNullIf(e.due_resolution, e.version, e.due_resolution > 0) AS due_resolution,
        minOrNullIf(e.occurred_at, e.event_type = 'ComplaintClockRanOut' AND e.clock = 'first_response')
            AS first_response_ran_out_at,
        minOrNullIf(e.occurred_at, e.event_type = 'ComplaintClockRanOut' AND e.clock = 'resolution')
            AS resolution_ran_out_at,
        first_response_ran_out_at IS NOT NULL AS first_response_ran_out,
        resolution_ran_out_at IS NOT NULL AS resolution_ran_out,
        argMaxIf((e.first_response_took_us, e.resolution_took_us), e.version,
                 e.event_type = 'ComplaintClosed') AS took,
        if(state != 'closed' OR took.1 = 0 AND due_first_response IS NULL, NULL, took.1 / 1e6)
            AS first_response_took_s,
        if(state != 'closed' OR took.2 = 0 AND due_resolution IS NULL, NULL, took.2 / 1e6)
            AS resolution_took_s,

        arrayMap(one -> one.2, arraySort(groupArrayIf((e.version, e.remedy),
                                                      e.event_type = 'ComplaintRemedied')))
            AS remedies,
        sumMapIf(map(e.currency::String, toDecimal128OrZero(e.amount, 4)), e.currency != '')
            AS remedy_amounts,

        if(state = 'closed', NULL,
           (toUnixTimestamp64Micro({as_of:DateTime64(6, 'UTC')}) - toUnixTimestamp64Micro(opened_at))
           / 1e6) AS age_s,
        multiIf(age_s IS NULL, NULL, age_s < 86400, '<1 d', age_s < 3 * 86400, '1-3 d',
                age_s < 7 * 86400, '3-7 d', age_s < 30 * 86400, '7-30 d', '>30 d') AS age
    FROM complaint_events AS e FINAL
    WHERE startsWith(e.event_type, 'Complaint') AND e.occurred_at <= {as_of:DateTime64(6, 'UTC')}
    GROUP BY client_id, complaint_id
);

-- As they are. Without ages, which depend on when one asks: complaints_at(as_of = now64(6)).
CREATE OR REPLACE VIEW complaints AS
SELECT * EXCEPT (age_s, age)
FROM complaints_at(as_of = '2299-12-31 23:59:59.999999');

-- Complaints about agents, and those in which the verdict was that an agent is responsible.
CREATE OR REPLACE VIEW agent_complaints AS
SELECT
    client_id,
    agent_id,
    countIf(is_about) AS complaints,
    countIf(is_about AND verdict = 'none') AS undecided,
    countIf(is_about AND verdict = 'rejected') AS unjustified,
    countIf(is_responsible) AS justified,
    countIf(is_responsible AND severity IN ('high', 'critical')) AS justified_severe
FROM
(
    SELECT client_id, complaint_id, verdict, severity,
           arrayJoin(arrayDistinct(arrayFilter(id -> id != '',
               [if(about_kind = 'agent', about_id, ''),
                if(responsible_kind = 'agent', responsible_id, '')]))) AS agent_id,
           about_kind = 'agent' AND about_id = agent_id AS is_about,
           verdict = 'upheld' AND responsible_kind = 'agent' AND responsible_id = agent_id
               AS is_responsible
    FROM complaints
)
GROUP BY client_id, agent_id;

-- A wish that is merged into another keeps its own row: `root_id` is the wish at the end of the chain
-- (its own id, where it is merged into none). `voices`: of how many customers and departments it is
-- the wish, those of wishes merged into it included, and each once, however many of them it wanted.
CREATE OR REPLACE VIEW wish_roots AS
WITH RECURSIVE
    merges AS
    (
        SELECT client_id, complaint_id AS wish_id,
               argMax(e.into_wish_id, e.version) AS merged_into
        FROM complaint_events AS e
        WHERE e.event_type IN ('WishMerged', 'WishUnmerged')
        GROUP BY client_id, wish_id
        HAVING merged_into != ''
    ),
    steps AS
    (
        SELECT client_id, wish_id, merged_into AS root_id, 1 AS depth FROM merges
        UNION ALL
        SELECT s.client_id, s.wish_id, m.merged_into, s.depth + 1
        FROM steps AS s
        INNER JOIN merges AS m ON m.client_id = s.client_id AND m.wish_id = s.root_id
        WHERE s.depth < 100
    )
SELECT client_id, wish_id, argMax(root_id, depth) AS root_id
FROM steps
GROUP BY client_id, wish_id;

CREATE OR REPLACE VIEW wishes AS
WITH
    own AS
    (
        SELECT
            client_id,
            e.complaint_id AS wish_id,
            maxIf(e.customer_id, e.event_type = 'WishExpressed') AS customer_id,
            maxIf(e.source, e.event_type = 'WishExpressed') AS source,
            maxIf(e.call_id, e.event_type = 'WishExpressed') AS call_id,
            maxIf(e.topic_id, e.event_type = 'WishExpressed') AS topic_id,
            minOrNullIf(e.occurred_at, e.event_type = 'WishExpressed') AS expressed_at,
            toUInt64(greatest(1, argMaxIf(e.supporters, e.version,
                                          e.event_type = 'WishSupported'))) AS supporters,
            argMaxIf(e.into_wish_id, e.version, e.event_type IN ('WishMerged', 'WishUnmerged'))
                AS merged_into,
            argMaxIf(e.outcome, e.version, e.event_type = 'WishClosed') AS outcome,
            minOrNullIf(e.occurred_at, e.event_type = 'WishClosed') AS closed_at,
            multiIf(merged_into != '', 'merged', closed_at IS NOT NULL, 'closed', 'open') AS state
        FROM complaint_events AS e
        WHERE startsWith(e.event_type, 'Wish')
        GROUP BY client_id, wish_id
    ),
    heard AS
    (
        SELECT
            client_id,
            if(r.root_id != '', r.root_id, e.complaint_id) AS wish_id,
            uniqExact((e.customer_id, e.source)) AS voices
        FROM complaint_events AS e
        LEFT JOIN wish_roots AS r ON r.client_id = e.client_id AND r.wish_id = e.complaint_id
        WHERE e.event_type IN ('WishExpressed', 'WishSupported')
        GROUP BY client_id, wish_id
    )
SELECT
    o.client_id AS client_id,
    o.wish_id AS wish_id,
    o.* EXCEPT (client_id, wish_id),
    if(r.root_id != '', r.root_id, o.wish_id) AS root_id,
    heard.voices AS voices
FROM own AS o
LEFT JOIN wish_roots AS r ON r.client_id = o.client_id AND r.wish_id = o.wish_id
LEFT JOIN heard ON heard.client_id = o.client_id AND heard.wish_id = o.wish_id;
