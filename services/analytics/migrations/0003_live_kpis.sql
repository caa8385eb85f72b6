-- The figures of the last days as they change, a row per client, queue, quarter of an hour (UTC)
-- and partition of call-events. A row holds totals, never increments: written twice it is the same
-- row, and of two the one that has seen more of its partition counts.

CREATE TABLE IF NOT EXISTS live_kpis
(
    client_id          LowCardinality(String),
    queue_id           LowCardinality(String),
    interval_start     DateTime('UTC'),
    offered            UInt32,
    answered           UInt32,
    abandoned          UInt32,
    answered_in_target UInt32,
    handled            UInt32,
    waited_us          Int64 COMMENT 'of the answered',
    handle_us          Int64 COMMENT 'talked and wrap-up of the handled',
    target_s           Float64,
    kafka_partition    UInt16,
    kafka_offset       Int64 COMMENT 'the last record of the partition that changed the row'
)
ENGINE = ReplacingMergeTree(kafka_offset)
ORDER BY (client_id, interval_start, queue_id, kafka_partition);

CREATE OR REPLACE VIEW live_kpi AS
SELECT
    l.client_id AS client_id,
    l.queue_id AS queue_id,
    l.interval_start AS interval_start,
    sum(l.offered) AS offered,
    sum(l.answered) AS answered,
    sum(l.abandoned) AS abandoned,
    if(offered = 0, NULL, abandoned / offered) AS abandonment_rate,
    if(answered = 0, NULL, sum(l.waited_us) / answered / 1e6) AS asa_s,
    if(offered = 0, NULL, sum(l.answered_in_target) / offered) AS service_level,
    if(sum(l.handled) = 0, NULL, sum(l.handle_us) / sum(l.handled) / 1e6) AS aht_s
FROM live_kpis AS l FINAL
WHERE l.client_id IN (SELECT client_id FROM clients)
GROUP BY client_id, queue_id, interval_start;
