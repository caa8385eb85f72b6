-- Every event of a topic, one row each, its fields as typed columns.
--
-- A column that the event's type does not have holds its type's default ('' or 0, 1970 for a time).
-- An event that arrives twice is one row: copies have the same sorting key, and no partitions keep
-- them apart. Until a merge has dropped the copy, read with FINAL.
-- kafka_partition and kafka_offset say which record of the topic a row was made of.
-- event_id is sent as text and parsed here: clickhouse-driver takes longer to parse a UUID than
-- protobuf takes to decode the event.
-- The window remembers the last inserts by their token, so that a repeated insert adds nothing.

CREATE TABLE IF NOT EXISTS client_events
(
    event_id        UUID DEFAULT toUUIDOrZero(event_id_text),
    event_id_text   String EPHEMERAL,
    client_id       LowCardinality(String),
    version         Int64,
    event_type      LowCardinality(String),
    occurred_at     DateTime64(6, 'UTC'),
    recorded_at     DateTime64(6, 'UTC'),
    actor           LowCardinality(String),
    correlation_id  String,
    causation_id    String,
    name            String,
    time_zone       LowCardinality(String),
    payload         String COMMENT 'the message as received, where its body is of an unknown type',
    kafka_partition UInt16,
    kafka_offset    Int64
)
ENGINE = ReplacingMergeTree
ORDER BY (client_id, event_id)
SETTINGS non_replicated_deduplication_window = 1000;

CREATE OR REPLACE VIEW clients AS
SELECT client_id, argMax(name, (version, occurred_at)) AS name,
       argMax(time_zone, (version, occurred_at)) AS time_zone
FROM client_events
WHERE event_type = 'ClientRegistered'
GROUP BY client_id;

CREATE TABLE IF NOT EXISTS call_events
(
    event_id        UUID DEFAULT toUUIDOrZero(event_id_text),
    event_id_text   String EPHEMERAL,
    client_id       LowCardinality(String),
    call_id         String,
    version         Int64,
    event_type      LowCardinality(String),
    occurred_at     DateTime64(6, 'UTC'),
    recorded_at     DateTime64(6, 'UTC'),
    actor           LowCardinality(String),
    correlation_id  String,
    causation_id    String,
    channel         LowCardinality(String),
    direction       LowCardinality(String),
    line            LowCardinality(String),
    customer_id     String,
    queue_id        LowCardinality(String),
    pool_id         LowCardinality(String),
    priority        Int32,
    required_skills Map(LowCardinality(String), Int32),
    arrived_at      DateTime64(6, 'UTC'),
    offer_id        String,
    agent_id        LowCardinality(String),
    expires_at      DateTime64(6, 'UTC'),
    rule            String,
    reason          LowCardinality(String),
    waited_us       Int64,
    cause           LowCardinality(String),
    talked_us       Int64,
    wrap_up_us      Int64,
    payload         String COMMENT 'the message as received, where its body is of an unknown type',
    kafka_partition UInt16,
    kafka_offset    Int64
)
ENGINE = ReplacingMergeTree
ORDER BY (client_id, toDate(occurred_at), call_id, event_id)
SETTINGS non_replicated_deduplication_window = 1000;

CREATE TABLE IF NOT EXISTS agent_events
(
    event_id        UUID DEFAULT toUUIDOrZero(event_id_text),
    event_id_text   String EPHEMERAL,
    client_id       LowCardinality(String),
    agent_id        LowCardinality(String),
    pool_id         LowCardinality(String),
    version         Int64,
    event_type      LowCardinality(String),
    occurred_at     DateTime64(6, 'UTC'),
    recorded_at     DateTime64(6, 'UTC'),
    actor           LowCardinality(String),
    correlation_id  String,
    causation_id    String,
    skills          Map(LowCardinality(String), Int32),
    offer_id        String,
    call            String,
    ends_at         DateTime64(6, 'UTC'),
    reason          LowCardinality(String),
    payload         String COMMENT 'the message as received, where its body is of an unknown type',
    kafka_partition UInt16,
    kafka_offset    Int64
)
ENGINE = ReplacingMergeTree
ORDER BY (client_id, toDate(occurred_at), agent_id, event_id)
SETTINGS non_replicated_deduplication_window = 1000;
