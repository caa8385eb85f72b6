-- What agents did with their time, and whether all of their events are here.
--
-- An agent's events are numbered within a pool. FINAL drops copies; the order is that of the versions.

-- Each state from its event to the next one that changes it. What changes nothing of it (other skills,
-- a connection that is lost and comes back) tells the groups alone. `until` is NULL while it goes on;
-- seconds then reach to the newest event of any agent of the pool.
--
-- first, last: days of UTC in which an event must lie to be looked at.
CREATE OR REPLACE VIEW agent_states_of AS
SELECT
    e.agent_id AS agent_id,
    e.pool_id AS pool_id,
    e.state AS state,
    e.since AS since,
    if(e.next_version > 0, e.next, NULL) AS until,
    greatest(0, toUnixTimestamp64Micro(ifNull(until, pools.newest)) - toUnixTimestamp64Micro(since))
        / 1e6 AS seconds,
    if(e.client_id = 'centre', '', e.client_id::String) AS client_id,
    e.call AS call,
    e.reason AS reason,
    logins.site AS site,
    grouped.groups AS groups,
    e.version AS version
FROM
(
    SELECT
        agent_id, pool_id, version, client_id, call, reason,
        a.occurred_at AS since,
        transform(a.event_type::String,
                  ['AgentLoggedIn', 'AgentBecameAvailable', 'AgentReserved', 'AgentBecameBusy',
                   'AgentWrapUpStarted', 'AgentBreakStarted', 'AgentStoppedResponding',
                   'AgentLoggedOut'],
                  ['logged_in', 'available', 'reserved', 'busy',
                   'wrap_up', 'break', 'not_responding', 'logged_out'], '') AS turn,
        if(turn = 'busy' AND a.call = '', 'other_call', turn) AS state,
        leadInFrame(a.occurred_at) OVER states AS next,
        leadInFrame(a.version) OVER states AS next_version
    FROM agent_events AS a FINAL
    WHERE a.event_type IN ('AgentLoggedIn', 'AgentBecameAvailable', 'AgentReserved',
                           'AgentBecameBusy', 'AgentWrapUpStarted', 'AgentBreakStarted',
                           'AgentStoppedResponding', 'AgentLoggedOut')
      AND toDate(a.occurred_at) BETWEEN {first:Date32} AND {last:Date32}
    WINDOW states AS (PARTITION BY pool_id, agent_id ORDER BY version
                      ROWS BETWEEN CURRENT ROW AND 1 FOLLOWING)
) AS e
INNER JOIN
(
    SELECT pool_id, max(a.occurred_at) AS newest
    FROM agent_events AS a
    WHERE toDate(a.occurred_at) BETWEEN {first:Date32} AND {last:Date32}
    GROUP BY pool_id
) AS pools ON pools.pool_id = e.pool_id
ASOF LEFT JOIN
(
    SELECT agent_id, pool_id, version, site FROM agent_events WHERE event_type = 'AgentLoggedIn'
) AS logins ON logins.pool_id = e.pool_id AND logins.agent_id = e.agent_id
           AND logins.version <= e.version
ASOF LEFT JOIN
(
    SELECT agent_id, pool_id, version, groups FROM agent_events
    WHERE event_type IN ('AgentLoggedIn', 'AgentSkillsChanged')
) AS grouped ON grouped.pool_id = e.pool_id AND grouped.agent_id = e.agent_id
            AND grouped.version <= e.version;

CREATE OR REPLACE VIEW agent_states AS
SELECT * FROM agent_states_of(first = '1970-01-01', last = '2299-12-31');

-- Where versions are missing between those that are here (the first is 1): events that were lost, or
-- refused. What is missing at the end cannot be seen. since: of the event before; seen_at: behind it.
CREATE OR REPLACE VIEW agent_gaps AS
SELECT
    agent_id,
    pool_id,
    before + 1 AS first_missing,
    version - 1 AS last_missing,
    last_missing - before AS missing,
    if(before = 0, NULL, since) AS since,
    seen_at
FROM
(
    SELECT
        agent_id, pool_id, version, seen_at,
        lagInFrame(version) OVER versions AS before,
        lagInFrame(seen_at) OVER versions AS since
    FROM
    (
        SELECT agent_id, pool_id, version, min(a.occurred_at) AS seen_at
        FROM agent_events AS a
        WHERE (agent_id, pool_id) IN (SELECT agent_id, pool_id FROM agent_events
                                      GROUP BY agent_id, pool_id
                                      HAVING uniqExact(version) != max(version))
        GROUP BY agent_id, pool_id, version
    )
    WINDOW versions AS (PARTITION BY pool_id, agent_id ORDER BY version
                        ROWS BETWEEN 1 PRECEDING AND CURRENT ROW)
)
WHERE version > before + 1;

-- What each agent did in a range of days by a zone's clock, the last one exclusive. Times are those of
-- agent_states within the range, looked for from two days before it; calls count in the moment in which
-- each thing happened: an offer, a connection, a transfer.
--
-- occupancy: of the time in which the agent could have had a call or had one, the part with one.
CREATE OR REPLACE VIEW agent_kpi AS
WITH
    toUnixTimestamp64Micro(toDateTime64({from_date:Date}, 6, {zone:String})) AS begins,
    toUnixTimestamp64Micro(toDateTime64({to_date:Date}, 6, {zone:String})) AS ends
SELECT
    agent_id,
    argMax(f.site, f.at) AS site,
    sum(f.seconds['available']) AS available_s,
    sum(f.seconds['reserved']) AS reserved_s,
    sum(f.seconds['busy']) AS busy_s,
    sum(f.seconds['other_call']) AS other_call_s,
    sum(f.seconds['wrap_up']) AS wrap_up_s,
    sum(f.seconds['break']) AS break_s,
    sum(f.seconds['not_responding']) AS not_responding_s,
    sum(f.seconds['logged_in']) AS logged_in_s,
    reserved_s + busy_s + other_call_s + wrap_up_s AS occupied_s,
    occupied_s + available_s + break_s + not_responding_s + logged_in_s AS staffed_s,
    if(occupied_s + available_s = 0, NULL, occupied_s / (occupied_s + available_s)) AS occupancy,
    sum(f.counts['CallOffered']) AS offers,
    sum(f.counts['CallAssigned']) AS accepted,
    sum(f.counts['CallOfferDeclined']) AS declined,
    sum(f.counts['CallOfferExpired']) AS missed,
    sum(f.counts['CallTransferred']) AS transferred,
    sum(f.counts['CallHelpJoined']) AS helped,
    sum(f.legs) AS answered,
    sum(f.talked_us) / 1e6 AS talked_s,
    if(answered = 0, NULL, talked_s / answered) AS talked_each_s
FROM
(
    SELECT
        agent_id,
        max(s.since) AS at,
        argMax(s.site, s.since)::String AS site,
        sumMap(map(s.state, greatest(0, least(toUnixTimestamp64Micro(s.since)
                                              + round(s.seconds * 1e6)::Int64, ends)
                                        - greatest(toUnixTimestamp64Micro(s.since), begins)) / 1e6))
            AS seconds,
        map()::Map(String, UInt64) AS counts,
        0 AS legs,
        0 AS talked_us
    FROM agent_states_of(first = {from_date:Date} - 3, last = {to_date:Date} + 1) AS s
    WHERE s.state != 'logged_out'
    GROUP BY agent_id

    UNION ALL

    SELECT agent_id, toDateTime64(0, 6, 'UTC'), '', map(), sumMap(map(e.event_type::String, 1::UInt64)),
           0, 0
    FROM call_events AS e FINAL
    WHERE toDate(e.occurred_at) BETWEEN {from_date:Date} - 1 AND {to_date:Date} + 1
      AND toUnixTimestamp64Micro(e.occurred_at) >= begins
      AND toUnixTimestamp64Micro(e.occurred_at) < ends
      AND e.event_type IN ('CallOffered', 'CallAssigned', 'CallOfferDeclined', 'CallOfferExpired',
                           'CallTransferred', 'CallHelpJoined')
    GROUP BY agent_id

    UNION ALL

    SELECT l.agent_id::LowCardinality(String), toDateTime64(0, 6, 'UTC'), '', map(), map(), count(),
           sum(l.talked_us)
    FROM call_legs_of(first = {from_date:Date} - 2, last = {to_date:Date} + 2) AS l
    WHERE toUnixTimestamp64Micro(l.connected_at) >= begins
      AND toUnixTimestamp64Micro(l.connected_at) < ends
    GROUP BY l.agent_id
) AS f
GROUP BY agent_id
HAVING staffed_s > 0 OR offers + answered + helped > 0;
