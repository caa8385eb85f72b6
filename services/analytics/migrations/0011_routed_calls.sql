-- One row per call, now that a call may be moved, transferred, put back, helped with and called back.
--
-- What came first or last is an argMin or argMax by the version in the call's own stream; what may come
-- several times is a set, whose elements begin with that version. A copy changes neither, whatever the
-- order. Sets are sorted before an element is taken, so that FINAL reads whole columns
-- (0005_conversations.sql). Few calls have any of what has texts in it: such sets are dear.

ALTER TABLE call_facts
    ADD COLUMN IF NOT EXISTS first_version SimpleAggregateFunction(min, Nullable(Int64))
        COMMENT 'of the first connection',
    ADD COLUMN IF NOT EXISTS first_queue AggregateFunction(argMinIf, String, Int64, UInt8),
    ADD COLUMN IF NOT EXISTS first_agent AggregateFunction(argMinIf, String, Int64, UInt8),
    ADD COLUMN IF NOT EXISTS first_waited_us AggregateFunction(argMinIf, Int64, Int64, UInt8),
    ADD COLUMN IF NOT EXISTS last_queue AggregateFunction(argMaxIf, String, Int64, UInt8),
    ADD COLUMN IF NOT EXISTS last_agent AggregateFunction(argMaxIf, String, Int64, UInt8),
    ADD COLUMN IF NOT EXISTS policy AggregateFunction(argMinIf, String, Int64, UInt8),
    ADD COLUMN IF NOT EXISTS rule AggregateFunction(argMinIf, String, Int64, UInt8),
    ADD COLUMN IF NOT EXISTS wrap_ups SimpleAggregateFunction(groupUniqArrayArray,
        Array(Tuple(version Int64, wrap_up_us Int64))),
    ADD COLUMN IF NOT EXISTS relaxed SimpleAggregateFunction(groupUniqArrayArray, Array(Int64)),
    ADD COLUMN IF NOT EXISTS freed_version SimpleAggregateFunction(min, Nullable(Int64))
        COMMENT 'when it no longer waited for one agent alone',
    ADD COLUMN IF NOT EXISTS handovers SimpleAggregateFunction(groupUniqArrayArray,
        Array(Tuple(version Int64, at DateTime64(6, 'UTC'), event_type String, from_queue_id String,
                    queue_id String, consulted Bool))),
    ADD COLUMN IF NOT EXISTS helps SimpleAggregateFunction(groupUniqArrayArray,
        Array(Tuple(version Int64, event_type String, kind String, waited_us Int64))),
    ADD COLUMN IF NOT EXISTS held_us SimpleAggregateFunction(max, Int64),
    ADD COLUMN IF NOT EXISTS estimated_wait_us SimpleAggregateFunction(max, Nullable(Int64)),
    ADD COLUMN IF NOT EXISTS callback_offered_at
        SimpleAggregateFunction(min, Nullable(DateTime64(6, 'UTC'))),
    ADD COLUMN IF NOT EXISTS callback_accepted_at
        SimpleAggregateFunction(min, Nullable(DateTime64(6, 'UTC'))),
    ADD COLUMN IF NOT EXISTS callback_failures SimpleAggregateFunction(max, Int32),
    ADD COLUMN IF NOT EXISTS overflowed_at
        SimpleAggregateFunction(min, Nullable(DateTime64(6, 'UTC'))),
    ADD COLUMN IF NOT EXISTS overflowed_queue SimpleAggregateFunction(max, LowCardinality(String)),
    ADD COLUMN IF NOT EXISTS overflowed_waited_us SimpleAggregateFunction(max, Int64),
    ADD COLUMN IF NOT EXISTS overflow_action SimpleAggregateFunction(max, LowCardinality(String)),
    ADD COLUMN IF NOT EXISTS overflow_reason SimpleAggregateFunction(max, LowCardinality(String));

ALTER TABLE call_facts_from_events MODIFY QUERY
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
    maxIf(e.channel, e.event_type = 'CallArrived') AS channel,
    max(e.direction) AS direction,
    max(e.line) AS line,
    max(e.customer_id) AS customer_id,
    maxIf(e.pool_id, e.event_type = 'CallQueued') AS pool_id,
    maxOrNullIf(e.priority, e.event_type = 'CallQueued') AS priority,
    maxIf(e.queue_id, e.event_type IN ('CallArrived', 'CallEnded')) AS heading_queue,
    maxIf(e.queue_id, e.event_type = 'CallQueued') AS queued_queue,
    maxIf(e.queue_id, e.event_type = 'CallAbandoned') AS abandoned_queue,
    maxIf(e.waited_us, e.event_type = 'CallAbandoned') AS abandoned_waited_us,
    maxIf(e.talked_us, e.event_type = 'CallEnded') AS talked_us,
    max(e.cause) AS cause,
    minOrNullIf(e.version, e.event_type = 'CallConnected') AS first_version,
    argMinIfState(e.queue_id::String, e.version, e.event_type = 'CallConnected') AS first_queue,
    argMinIfState(e.agent_id::String, e.version, e.event_type = 'CallConnected') AS first_agent,
    argMinIfState(e.waited_us, e.version, e.event_type = 'CallConnected') AS first_waited_us,
    argMaxIfState(e.queue_id::String, e.version,
                  e.queue_id != '' AND e.event_type = 'CallConnected') AS last_queue,
    argMaxIfState(e.agent_id::String, e.version, e.event_type = 'CallConnected') AS last_agent,
    argMinIfState(e.why_policy::String, e.version, e.event_type = 'CallAssigned') AS policy,
    argMinIfState(e.why_rule::String, e.version, e.event_type = 'CallAssigned') AS rule,
    groupUniqArrayIf((e.version, e.wrap_up_us), e.event_type = 'CallWrappedUp')
        ::Array(Tuple(version Int64, wrap_up_us Int64)) AS wrap_ups,
    maxIf(e.held_us, e.event_type = 'CallEnded') AS held_us,
    maxOrNullIf(e.estimated_wait_us, e.event_type = 'CallQueued') AS estimated_wait_us
FROM call_events AS e
GROUP BY client_id, call_id;

-- Apart from the rest, because few events are among these.
CREATE MATERIALIZED VIEW IF NOT EXISTS call_facts_from_turns TO call_facts AS
SELECT
    client_id,
    call_id,
    argMaxIfState(e.queue_id::String, e.version,
                  e.queue_id != '' AND e.event_type IN ('CallMoved', 'CallMovedToPool',
                                                        'CallTransferred', 'CallRequeued'))
        AS last_queue,
    argMaxIfState(e.to_agent_id::String, e.version,
                  e.event_type = 'CallTransferred' AND e.consulted) AS last_agent,
    groupUniqArrayIf(e.version, e.event_type = 'CallRelaxed'
                     AND NOT startsWith(e.what, 'no longer only agent')) AS relaxed,
    minOrNullIf(e.version, e.event_type = 'CallRelaxed'
                AND startsWith(e.what, 'no longer only agent')) AS freed_version,
    groupUniqArrayIf((e.version, e.occurred_at, e.event_type::String, e.from_queue_id::String,
                      e.queue_id::String, e.consulted),
                     e.event_type IN ('CallMoved', 'CallMovedToPool', 'CallTransferred',
                                      'CallRequeued'))
        ::Array(Tuple(version Int64, at DateTime64(6, 'UTC'), event_type String,
                      from_queue_id String, queue_id String, consulted Bool)) AS handovers,
    groupUniqArrayIf((e.version, e.event_type::String, e.kind::String, e.waited_us),
                     e.event_type IN ('CallHelpRequested', 'CallHelpJoined'))
        ::Array(Tuple(version Int64, event_type String, kind String, waited_us Int64)) AS helps,
    minOrNullIf(e.occurred_at, e.event_type = 'CallCallbackOffered') AS callback_offered_at,
    minOrNullIf(e.occurred_at, e.event_type = 'CallCallbackAccepted') AS callback_accepted_at,
    maxIf(e.attempt, e.event_type = 'CallCallbackFailed') AS callback_failures,
    minOrNullIf(e.occurred_at, e.event_type = 'CallOverflowed') AS overflowed_at,
    maxIf(e.queue_id, e.event_type = 'CallOverflowed') AS overflowed_queue,
    maxIf(e.waited_us, e.event_type = 'CallOverflowed') AS overflowed_waited_us,
    maxIf(e.action, e.event_type = 'CallOverflowed') AS overflow_action,
    maxIf(e.reason, e.event_type = 'CallOverflowed') AS overflow_reason
FROM call_events AS e
WHERE e.event_type IN ('CallMoved', 'CallMovedToPool', 'CallTransferred', 'CallRequeued',
                       'CallRelaxed', 'CallHelpRequested', 'CallHelpJoined', 'CallCallbackOffered',
                       'CallCallbackAccepted', 'CallCallbackFailed', 'CallOverflowed')
GROUP BY client_id, call_id;

-- Calls that were loaded before: what they have of these facts.
INSERT INTO call_facts (client_id, call_id, first_version, first_queue, first_agent, first_waited_us,
                        last_queue, last_agent, wrap_ups)
SELECT
    client_id,
    call_id,
    minOrNullIf(e.version, e.event_type = 'CallConnected'),
    argMinIfState(e.queue_id::String, e.version, e.event_type = 'CallConnected'),
    argMinIfState(e.agent_id::String, e.version, e.event_type = 'CallConnected'),
    argMinIfState(e.waited_us, e.version, e.event_type = 'CallConnected'),
    argMaxIfState(e.queue_id::String, e.version,
                  e.queue_id != '' AND e.event_type = 'CallConnected'),
    argMaxIfState(e.agent_id::String, e.version, e.event_type = 'CallConnected'),
    groupUniqArrayIf((e.version, e.wrap_up_us), e.event_type = 'CallWrappedUp')
FROM call_events AS e
WHERE e.event_type IN ('CallConnected', 'CallWrappedUp')
GROUP BY client_id, call_id;

-- A call counts once, as it was decided first: answered by whoever was connected first, after the
-- wait until then, in the queue where it had waited first. A queue that it left in the moment in which
-- it came (closed, say) it has not waited in. What came later (transfers, other agents, other queues)
-- is in columns of its own.
--
-- offered: it waited in a queue that was open. A call that was sent away because it came outside of
-- the hours is overflowed, and not offered.
CREATE OR REPLACE VIEW calls AS
WITH
    arraySort(f.handovers) AS handed,
    arrayFirst(one -> one.3 IN ('CallMoved', 'CallMovedToPool')
                      AND one.2 > ifNull(f.queued_at, one.2)
                      AND one.1 < ifNull(f.first_version, one.1 + 1), handed) AS left_first
SELECT
    client_id,
    call_id,
    if(left_first.4 != '', left_first.4, outcome_queue_id) AS queue_id,
    finalizeAggregation(f.first_agent) AS agent_id,
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
    answered OR abandoned OR (overflowed AND NOT out_of_hours) AS offered,
    answered AND ended_at IS NOT NULL AS handled,
    multiIf(answered, 'answered', abandoned, 'abandoned', overflowed, 'overflowed',
            ended_at IS NOT NULL, cause, 'open') AS outcome,
    multiIf(answered, finalizeAggregation(f.first_waited_us), overflowed, overflowed_waited_us,
            abandoned_waited_us) AS waited_us,
    talked_us,
    arraySum(one -> one.2, f.wrap_ups) AS wrap_up_us,
    waited_us / 1e6 AS waited_s,
    talked_us / 1e6 AS talked_s,
    wrap_up_us / 1e6 AS wrap_up_s,

    overflowed_at IS NOT NULL AND NOT answered AND NOT abandoned AS overflowed,
    overflowed AND overflow_reason = 'closed' AND overflowed_waited_us = 0 AS out_of_hours,
    overflowed_at,
    overflow_action,
    overflow_reason,
    multiIf(finalizeAggregation(f.first_queue) != '', finalizeAggregation(f.first_queue),
            abandoned_queue != '', abandoned_queue, overflowed_queue != '', overflowed_queue,
            handed[-1].5 != '', handed[-1].5, queued_queue != '', queued_queue, heading_queue)
        AS outcome_queue_id,
    if(finalizeAggregation(f.last_queue) != '', finalizeAggregation(f.last_queue), outcome_queue_id)
        AS last_queue_id,
    finalizeAggregation(f.last_agent) AS last_agent_id,
    arrayCount(one -> one.3 = 'CallTransferred', f.handovers) AS transfers,
    arrayCount(one -> one.3 = 'CallTransferred' AND one.6, f.handovers) AS warm_transfers,
    arrayCount(one -> one.3 = 'CallRequeued', f.handovers) AS requeues,
    arrayCount(one -> one.3 IN ('CallMoved', 'CallMovedToPool'), f.handovers) AS moves,
    arrayCount(one -> one.2 = 'CallHelpRequested', f.helps) AS help_asked,
    arrayCount(one -> one.2 = 'CallHelpJoined', f.helps) AS help_joined,
    arraySum(one -> one.4, f.helps) / 1e6 AS help_waited_s,
    arrayCount(one -> one.2 = 'CallHelpJoined' AND one.3 = 'consultation', f.helps) AS consultations,
    arrayCount(one -> one.2 = 'CallHelpJoined' AND one.3 = 'conference', f.helps) AS conferences,
    held_us,
    held_us / 1e6 AS held_s,
    callback_offered_at IS NOT NULL AS callback_offered,
    callback_accepted_at IS NOT NULL AS callback_accepted,
    callback_accepted_at,
    callback_failures + (callback_accepted AND answered) AS callback_attempts,
    estimated_wait_us,
    estimated_wait_us / 1e6 AS estimated_wait_s,
    if(answered, (waited_us - estimated_wait_us) / 1e6, NULL) AS estimate_error_s,
    finalizeAggregation(f.policy) AS policy,
    finalizeAggregation(f.rule) AS rule,
    length(arraySort(f.relaxed)) AS relaxed_steps,
    f.freed_version IS NOT NULL AND f.freed_version < ifNull(f.first_version, f.freed_version + 1)
        AS sticky_in_vain
FROM call_facts AS f FINAL;

ALTER TABLE call_facts
    DROP COLUMN IF EXISTS connected_queue,
    DROP COLUMN IF EXISTS agent_id,
    DROP COLUMN IF EXISTS connected_waited_us,
    DROP COLUMN IF EXISTS wrap_up_us;

-- As in 0005_conversations.sql, with the columns that `calls` has now.
CREATE OR REPLACE VIEW calls_by_topic AS
SELECT
    c.client_id AS client_id,
    node AS topic_id,
    level,
    level = length(o.topic_path) AS is_leaf,
    o.topic_path AS topic_path,
    o.disposition AS disposition,
    c.* EXCEPT (client_id)
FROM calls AS c
INNER JOIN call_outcomes AS o ON o.client_id = c.client_id AND o.call_id = c.call_id
ARRAY JOIN o.topic_path AS node, arrayEnumerate(o.topic_path) AS level;

-- As in 0002_calls.sql, and what is new of calls behind it.
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
       sumIf(c.talked_us + c.wrap_up_us, c.handled) / countIf(c.handled) / 1e6) AS aht_s,
    countIf(c.overflowed AND c.offered) AS overflowed,
    countIf(c.out_of_hours) AS out_of_hours,
    sum(c.transfers) AS transfers,
    countIf(c.callback_accepted) AS callbacks,
    if(countIf(c.estimate_error_s IS NOT NULL) = 0, NULL, sum(abs(c.estimate_error_s))
       / countIf(c.estimate_error_s IS NOT NULL)) AS estimate_error_s
FROM calls AS c
WHERE c.client_id = {client:String}
  AND toDate(c.arrived_at, zone) >= {from_date:Date}
  AND toDate(c.arrived_at, zone) < {to_date:Date};

-- Who talked to the customer, one after the other: a leg begins with a connection, or with a transfer
-- to whom had been consulted, and ends with the next transfer, with the agent's line, or with the call.
-- Its talk is what the event says that ends it; where that is the whole call's, the time between. The
-- work after the call stands in the agent's last leg.
--
-- first, last: days of UTC in which an event must lie to be looked at.
CREATE OR REPLACE VIEW call_legs_of AS
WITH arrayFirst(left -> left.1 > one.1, leavings) AS left
SELECT
    client_id,
    call_id,
    leg,
    one.3 AS agent_id,
    one.4 AS queue_id,
    one.2 AS connected_at,
    one.5 AS waited_us,
    multiIf(left.3 = 'CallTransferred', 'transferred', left.3 = 'CallRequeued', 'requeued',
            ended_at IS NOT NULL, 'ended', 'open') AS ended_by,
    if(left.1 > 0, left.2, ended_at) AS left_at,
    multiIf(ended_by = 'transferred', left.4, ended_by = 'open', 0,
            ended_by = 'ended' AND length(legs) = 1, call_talked_us,
            greatest(0, toUnixTimestamp64Micro(assumeNotNull(left_at))
                        - toUnixTimestamp64Micro(connected_at))) AS talked_us,
    if(leg = arrayLastIndex(other -> other.3 = one.3, legs),
       arraySum(arrayMap(done -> if(done.2 = one.3, done.3, 0), wrap_ups)), 0) AS wrap_up_us
FROM
(
    SELECT
        client_id,
        call_id,
        minOrNullIf(e.occurred_at, e.event_type = 'CallEnded') AS ended_at,
        maxIf(e.talked_us, e.event_type = 'CallEnded') AS call_talked_us,
        groupUniqArrayIf((e.version, e.agent_id::String, e.wrap_up_us),
                         e.event_type = 'CallWrappedUp') AS wrap_ups,
        arraySort(groupUniqArrayIf(
            (e.version, e.occurred_at, if(e.consulted, e.to_agent_id, e.agent_id)::String,
             e.queue_id::String, e.waited_us),
            e.event_type = 'CallConnected' OR e.consulted)) AS legs,
        arraySort(groupUniqArrayIf(
            (e.version, e.occurred_at, e.event_type::String, e.talked_us),
            e.event_type IN ('CallTransferred', 'CallRequeued'))) AS leavings
    FROM call_events AS e
    WHERE e.event_type IN ('CallConnected', 'CallTransferred', 'CallRequeued', 'CallEnded',
                           'CallWrappedUp')
      AND toDate(e.occurred_at) BETWEEN {first:Date32} AND {last:Date32}
    GROUP BY client_id, call_id
)
ARRAY JOIN legs AS one, arrayEnumerate(legs) AS leg;

CREATE OR REPLACE VIEW call_legs AS
SELECT * FROM call_legs_of(first = '1970-01-01', last = '2299-12-31');
