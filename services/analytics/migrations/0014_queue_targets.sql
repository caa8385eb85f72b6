-- What supervisors have set for queues, and how calls did by it.

-- Each setting of a queue from the moment in which it was made; of one that is removed, none.
CREATE OR REPLACE VIEW queue_settings AS
SELECT
    client_id,
    if(event_type = 'QueueRemoved', p.queue_id, p.queue_queue_id) AS queue_id,
    pool_id,
    p.occurred_at AS since,
    event_type = 'QueueConfigured' AS configured,
    p.queue_target_seconds AS target_seconds,
    p.queue_target_share AS target_share,
    p.queue_sticky_days AS sticky_days,
    p.queue_sticky_seconds AS sticky_seconds,
    config_version,
    actor
FROM pool_events AS p FINAL
WHERE event_type IN ('QueueConfigured', 'QueueRemoved')
ORDER BY version DESC
LIMIT 1 BY client_id, queue_id, pool_id, since;

-- The contract's service level: each call by the target that its queue had when it arrived. A call
-- whose queue had none is offered, and not judged. The target that is shown is the last one.
CREATE OR REPLACE VIEW service_levels AS
WITH coalesce(nullIf((SELECT max(time_zone) FROM clients WHERE client_id = {client:String}), ''),
              'UTC') AS zone
SELECT
    c.queue_id AS queue_id,
    if(judged = 0, NULL, argMaxIf(s.target_seconds, c.arrived_at, s.configured)) AS target_seconds,
    if(judged = 0, NULL, argMaxIf(s.target_share, c.arrived_at, s.configured)) AS target_share,
    count() AS offered,
    countIf(s.configured) AS judged,
    countIf(s.configured AND c.answered AND c.waited_us <= s.target_seconds * 1000000) AS in_target,
    if(judged = 0, NULL, in_target / judged) AS service_level,
    service_level >= target_share AS met
FROM
(
    SELECT queue_id, answered, waited_us, assumeNotNull(arrived_at) AS arrived_at
    FROM calls
    WHERE client_id = {client:String} AND offered
      AND toDate(arrived_at, zone) >= {from_date:Date}
      AND toDate(arrived_at, zone) < {to_date:Date}
) AS c
ASOF LEFT JOIN
(
    SELECT * FROM queue_settings WHERE client_id = {client:String}
) AS s ON s.queue_id = c.queue_id AND s.since <= c.arrived_at
GROUP BY queue_id;

-- Answered calls of customers whom somebody had served lately, in queues that wait for that agent.
-- kept: the same agent; in_vain: it waited for that agent first. Neither: the agent was not there.
CREATE OR REPLACE VIEW sticky_calls AS
WITH coalesce(nullIf((SELECT max(time_zone) FROM clients WHERE client_id = {client:String}), ''),
              'UTC') AS zone
SELECT
    c.call_id AS call_id,
    c.queue_id AS queue_id,
    c.queued_at AS queued_at,
    c.agent_id AS agent_id,
    before.last_agent_id AS wanted_agent_id,
    c.agent_id = before.last_agent_id AS kept,
    c.sticky_in_vain AS in_vain,
    c.waited_us AS waited_us
FROM
(
    SELECT call_id, queue_id, customer_id, agent_id, sticky_in_vain, waited_us,
           assumeNotNull(queued_at) AS queued_at
    FROM calls
    WHERE client_id = {client:String} AND answered AND customer_id != '' AND queued_at IS NOT NULL
      AND toDate(arrived_at, zone) >= {from_date:Date}
      AND toDate(arrived_at, zone) < {to_date:Date}
) AS c
ASOF INNER JOIN
(
    SELECT * FROM queue_settings WHERE client_id = {client:String}
) AS s ON s.queue_id = c.queue_id AND s.since <= c.queued_at
ASOF INNER JOIN
(
    SELECT customer_id, last_agent_id, assumeNotNull(connected_at) AS served_at
    FROM calls
    WHERE client_id = {client:String} AND answered AND customer_id != ''
) AS before ON before.customer_id = c.customer_id AND before.served_at < c.queued_at
WHERE s.sticky_seconds > 0 AND before.served_at >= c.queued_at - toIntervalDay(s.sticky_days);
