-- What becomes known of customers, and of what was said in their calls: ids, nothing personal.
-- The rules for tables of events are those of 0001_events.sql; for facts, those of 0002_calls.sql.

CREATE TABLE IF NOT EXISTS customer_events
(
    event_id              UUID DEFAULT toUUIDOrZero(event_id_text),
    event_id_text         String EPHEMERAL,
    client_id             LowCardinality(String),
    customer_id           String,
    call_id               String,
    version               Int64 COMMENT 'within the stream: of the customer, call, consent, list or survey',
    event_type            LowCardinality(String),
    occurred_at           DateTime64(6, 'UTC'),
    recorded_at           DateTime64(6, 'UTC'),
    actor                 LowCardinality(String),
    correlation_id        String,
    causation_id          String,
    source                LowCardinality(String),
    language              LowCardinality(String),
    time_zone             LowCardinality(String),
    preferred_channel     LowCardinality(String),
    fields                Array(LowCardinality(String)),
    into_customer_id      String,
    from_customer_id      String,
    note_id               String,
    agent_id              LowCardinality(String),
    topic_id              LowCardinality(String),
    path                  Array(LowCardinality(String)),
    disposition           LowCardinality(String),
    offer_id              LowCardinality(String),
    reason                LowCardinality(String),
    not_before            String COMMENT 'YYYY-MM-DD',
    article_id            LowCardinality(String),
    article_version       Int32,
    consent_id            String,
    channel               LowCardinality(String),
    purpose               LowCardinality(String),
    proof                 LowCardinality(String),
    expires_at            DateTime64(6, 'UTC'),
    list_id               LowCardinality(String),
    list_version          Int64,
    added                 Int64,
    removed               Int64,
    size                  Int64,
    survey_id             String,
    questionnaire_id      LowCardinality(String),
    questionnaire_version Int32,
    question_id           LowCardinality(String),
    options               Array(LowCardinality(String)),
    number                String COMMENT 'a decimal',
    date                  String COMMENT 'YYYY-MM-DD',
    dropped               Array(LowCardinality(String)),
    payload               String COMMENT 'the message as received, where its body is of an unknown type',
    kafka_partition       UInt16,
    kafka_offset          Int64
)
ENGINE = ReplacingMergeTree
ORDER BY (client_id, toDate(occurred_at), call_id, customer_id, event_id)
SETTINGS non_replicated_deduplication_window = 1000;

CREATE OR REPLACE VIEW customers AS
SELECT
    client_id,
    customer_id,
    minOrNullIf(e.occurred_at, e.event_type = 'CustomerRegistered') AS registered_at,
    maxIf(e.source, e.event_type = 'CustomerRegistered') AS source,
    argMaxIf(e.language, e.version,
             e.event_type = 'CustomerRegistered' OR has(e.fields, 'language')) AS language,
    argMaxIf(e.time_zone, e.version,
             e.event_type = 'CustomerRegistered' OR has(e.fields, 'time_zone')) AS time_zone,
    argMaxIf(e.preferred_channel, e.version,
             e.event_type = 'CustomerRegistered' OR has(e.fields, 'preferred_channel'))
        AS preferred_channel,
    argMaxIf(e.into_customer_id, e.version,
             e.event_type IN ('CustomerMerged', 'CustomerUnmerged')) AS merged_into,
    minOrNullIf(e.occurred_at, e.event_type = 'CustomerErased') AS erased_at
FROM customer_events AS e
WHERE e.event_type IN ('CustomerRegistered', 'CustomerCorrected', 'CustomerMerged',
                       'CustomerUnmerged', 'CustomerErased')
GROUP BY client_id, customer_id;

-- Records that stand for nothing but another one, and the one at the end of the chain.
CREATE OR REPLACE VIEW merged_customers AS
WITH RECURSIVE
    merges AS
    (
        SELECT client_id, customer_id, argMax(e.into_customer_id, e.version) AS merged_into
        FROM customer_events AS e
        WHERE e.event_type IN ('CustomerMerged', 'CustomerUnmerged')
        GROUP BY client_id, customer_id
        HAVING merged_into != ''
    ),
    steps AS
    (
        SELECT client_id, customer_id, merged_into AS survivor_id, 1 AS depth FROM merges
        UNION ALL
        SELECT s.client_id, s.customer_id, m.merged_into, s.depth + 1
        FROM steps AS s
        INNER JOIN merges AS m ON m.client_id = s.client_id AND m.customer_id = s.survivor_id
        WHERE s.depth < 100
    )
SELECT client_id, customer_id, argMax(survivor_id, depth) AS survivor_id
FROM steps
GROUP BY client_id, customer_id;

-- Counts of events are counts of different ids, which a copy does not change.
CREATE OR REPLACE VIEW customers_by_day AS
WITH coalesce(nullIf((SELECT max(time_zone) FROM clients WHERE client_id = {client:String}), ''),
              'UTC') AS zone
SELECT
    toDate(e.occurred_at, zone) AS day,
    uniqExactIf(e.event_id, e.event_type = 'CustomerRegistered') AS registered,
    uniqExactIf(e.event_id, e.event_type = 'CustomerMerged') AS merged,
    uniqExactIf(e.event_id, e.event_type = 'CustomerUnmerged') AS unmerged,
    uniqExactIf(e.event_id, e.event_type = 'CustomerErased') AS erased
FROM customer_events AS e
WHERE e.client_id = {client:String}
  AND e.event_type IN ('CustomerRegistered', 'CustomerMerged', 'CustomerUnmerged', 'CustomerErased')
GROUP BY day;

-- A consent that was withdrawn is not withdrawn again when its person is erased.
CREATE OR REPLACE VIEW consents_by_day AS
WITH coalesce(nullIf((SELECT max(time_zone) FROM clients WHERE client_id = {client:String}), ''),
              'UTC') AS zone
SELECT
    toDate(said.occurred_at, zone) AS day,
    said.channel AS channel,
    said.purpose AS purpose,
    countIf(said.event_type = 'ConsentGiven') AS given,
    countIf(said.event_type = 'ConsentWithdrawn' AND said.before != 'ConsentWithdrawn')
        AS withdrawn
FROM
(
    SELECT
        e.occurred_at, e.channel, e.purpose, e.event_type,
        lagInFrame(e.event_type) OVER (PARTITION BY e.consent_id ORDER BY e.version
            ROWS BETWEEN UNBOUNDED PRECEDING AND UNBOUNDED FOLLOWING) AS before
    FROM customer_events AS e FINAL
    WHERE e.client_id = {client:String} AND e.event_type IN ('ConsentGiven', 'ConsentWithdrawn')
) AS said
GROUP BY day, channel, purpose
HAVING given > 0 OR withdrawn > 0;

CREATE OR REPLACE VIEW do_not_call_lists AS
SELECT
    client_id,
    list_id,
    max(e.list_version) AS list_version,
    argMax(e.size, e.list_version) AS size,
    argMax(e.occurred_at, e.list_version) AS published_at
FROM customer_events AS e
WHERE e.event_type = 'DoNotCallListPublished'
GROUP BY client_id, list_id;
