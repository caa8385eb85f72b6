-- One row per call.
--
-- call_facts adds up the call's events as they are inserted. Each aggregate is idempotent and does
-- not care about order (min, max): an event that comes twice changes nothing, whatever else fails.

CREATE TABLE IF NOT EXISTS call_facts
(
    client_id           LowCardinality(String),
    call_id             String,
    arrived_at          SimpleAggregateFunction(min, Nullable(DateTime64(6, 'UTC'))),
    queued_at           SimpleAggregateFunction(min, Nullable(DateTime64(6, 'UTC'))),
    connected_at        SimpleAggregateFunction(min, Nullable(DateTime64(6, 'UTC'))),
    abandoned_at        SimpleAggregateFunction(min, Nullable(DateTime64(6, 'UTC'))),
    ended_at            SimpleAggregateFunction(min, Nullable(DateTime64(6, 'UTC'))),
    wrapped_up_at       SimpleAggregateFunction(min, Nullable(DateTime64(6, 'UTC'))),
    channel             SimpleAggregateFunction(max, LowCardinality(String)),
    direction           SimpleAggregateFunction(max, LowCardinality(String)),
    line                SimpleAggregateFunction(max, LowCardinality(String)),
    customer_id         SimpleAggregateFunction(max, String),
    pool_id             SimpleAggregateFunction(max, LowCardinality(String)),
    priority            SimpleAggregateFunction(max, Nullable(Int32)),
    heading_queue       SimpleAggregateFunction(max, LowCardinality(String)),
    queued_queue        SimpleAggregateFunction(max, LowCardinality(String)),
    abandoned_queue     SimpleAggregateFunction(max, LowCardinality(String)),
    connected_queue     SimpleAggregateFunction(max, LowCardinality(String)),
    agent_id            SimpleAggregateFunction(max, LowCardinality(String)),
    connected_waited_us SimpleAggregateFunction(max, Int64),
    abandoned_waited_us SimpleAggregateFunction(max, Int64),
    talked_us           SimpleAggregateFunction(max, Int64),
    wrap_up_us          SimpleAggregateFunction(max, Int64),
    cause               SimpleAggregateFunction(max, LowCardinality(String))
)
ENGINE = AggregatingMergeTree
ORDER BY (client_id, call_id)
SETTINGS non_replicated_deduplication_window = 1000;

CREATE MATERIALIZED VIEW IF NOT EXISTS call_facts_from_events TO call_facts AS
SELECT
    client_id,
    call_id,
    minOrNullIf(if(e.event_type = 'CallArrived', e.occurred_at, e.arrived_at),
                e.event_type = 'CallArrived' OR e.arrived_at > 0) AS arrived_at,
    minOrNullIf(e.occurred_at, e.event_type = 'CallQueued') AS queued_at,
    minOrNullIf(e.occurred_at, e.event_type = 'CallConnected') AS connected_at,
    minOrNullIf(e.occurred_at, e.event_type = 'CallAbandoned') AS abandoned_at,
    minOrNullIf(e.occurred_at, e.event_type = 'CallEnded') AS ended_at,
    minOrNullIf(e.occurred_at, e.event_type = 'CallWrappedUp') AS wrapped_up_at,
    max(e.channel) AS channel,
    max(e.direction) AS direction,
    max(e.line) AS line,
    max(e.customer_id) AS customer_id,
    max(e.pool_id) AS pool_id,
    maxOrNullIf(e.priority, e.event_type = 'CallQueued') AS priority,
    maxIf(e.queue_id, e.event_type IN ('CallArrived', 'CallEnded')) AS heading_queue,
    maxIf(e.queue_id, e.event_type = 'CallQueued') AS queued_queue,
    maxIf(e.queue_id, e.event_type = 'CallAbandoned') AS abandoned_queue,
    maxIf(e.queue_id, e.event_type = 'CallConnected') AS connected_queue,
    maxIf(e.agent_id, e.event_type = 'CallConnected') AS agent_id,
    maxIf(e.waited_us, e.event_type = 'CallConnected') AS connected_waited_us,
    maxIf(e.waited_us, e.event_type = 'CallAbandoned') AS abandoned_waited_us,
    max(e.talked_us) AS talked_us,
    max(e.wrap_up_us) AS wrap_up_us,
    max(e.cause) AS cause
FROM call_events AS e
GROUP BY client_id, call_id;

CREATE OR REPLACE VIEW calls AS
SELECT
    client_id,
    call_id,
    multiIf(connected_queue != '', connected_queue, abandoned_queue != '', abandoned_queue,
            queued_queue != '', queued_queue, heading_queue) AS queue_id,
    agent_id,
    pool_id,
    channel,
    direction,
    line,
    customer_id,
    priority,
    arrived_at,
    queued_at,
    connected_at,
    abandoned_at,
    ended_at,
    wrapped_up_at,
    connected_at IS NOT NULL AS answered,
    abandoned_at IS NOT NULL AND NOT answered AS abandoned,
    answered OR abandoned AS offered,
    answered AND ended_at IS NOT NULL AS handled,
    multiIf(answered, 'answered', abandoned, 'abandoned', ended_at IS NOT NULL, cause, 'open')
        AS outcome,
    if(answered, connected_waited_us, abandoned_waited_us) AS waited_us,
    talked_us,
    wrap_up_us,
    waited_us / 1e6 AS waited_s,
    talked_us / 1e6 AS talked_s,
    wrap_up_us / 1e6 AS wrap_up_s
FROM call_facts FINAL;

CREATE OR REPLACE VIEW kpi AS
WITH coalesce(nullIf((SELECT max(time_zone) FROM clients WHERE client_id = {client:String}), ''),
              'UTC') AS zone
SELECT
    countIf(c.offered) AS offered,
    countIf(c.answered) AS answered,
    countIf(c.abandoned) AS abandoned,
    if(offered = 0, NULL, abandoned / offered) AS abandonment_rate,
    if(answered = 0, NULL, sumIf(c.waited_us, c.answered) / answered / 1e6) AS asa_s,
    if(offered = 0, NULL,
       countIf(c.answered AND c.waited_us <= {sl_seconds:Float64} * 1e6) / offered)
        AS service_level,
    if(countIf(c.handled) = 0, NULL,
       sumIf(c.talked_us + c.wrap_up_us, c.handled) / countIf(c.handled) / 1e6) AS aht_s
FROM calls AS c
WHERE c.client_id = {client:String}
  AND toDate(c.arrived_at, zone) >= {from_date:Date}
  AND toDate(c.arrived_at, zone) < {to_date:Date};
