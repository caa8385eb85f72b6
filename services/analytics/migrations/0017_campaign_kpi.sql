-- The figures of outbound campaigns: abandonment as each law measures it, and what agents' time and a
-- sale cost. docs/subsystems/analytics.md defines each figure.

-- Of every period of every campaign of a client, by each measure: `us` in successive 30 days from the
-- campaign's first day; `uk` of each day, less the estimate of machines among the abandoned where nobody
-- told them from persons; `contract` as the client's own says. These are the readings that the dialer's
-- measure makes: an attempt counts in the client's day in which it ended. A period without live answers
-- has no row.
--
-- calls: what `abandoned` is a share of. Of `uk` by the estimate, so neither is always whole: of the
-- `dropped` those whom nobody told from machines (`unknown`) are machines as often as the `connected`
-- of whom nobody told turned out to be.
CREATE OR REPLACE VIEW abandonment AS
WITH
    coalesce(nullIf((SELECT max(time_zone) FROM clients WHERE client_id = {client:String}), ''),
             'UTC') AS zone,
    ended AS
    (
        SELECT
            campaign_id,
            toDate(ifNull(a.ended_at, a.started_at), zone) AS day,
            a.live AS live,
            a.wait_us AS wait_us,
            a.outcome AS outcome,
            a.answered_by != 'human' AS unknown
        FROM attempts AS a
        WHERE a.client_id = {client:String} AND a.mode != 'message' AND a.contact
    ),
    begun AS
    (
        SELECT e.campaign_id AS campaign_id,
               ifNull(toDate(any(c.first_started_at), zone), min(e.day)) AS first_day,
               any(c.contract_limit) AS contract_limit,
               any(c.contract_connect_seconds) AS contract_connect_seconds,
               any(c.contract_period_days) AS contract_period_days
        FROM ended AS e
        LEFT JOIN (SELECT * FROM campaigns WHERE client_id = {client:String}) AS c
            ON c.campaign_id = e.campaign_id
        GROUP BY campaign_id
    )
SELECT
    campaign_id,
    measure,
    if(measure = 'uk',
       row_number() OVER (PARTITION BY campaign_id, measure ORDER BY first_day)::Int64,
       m.number::Int64) AS period,
    first_day,
    last_day,
    if(measure = 'uk', (m.persons + m.connected * m.known) / m.known, m.live::Float64) AS calls,
    if(measure = 'uk', m.persons / m.known, m.late::Float64) AS abandoned,
    abandoned / calls AS rate,
    m.share AS limit,
    if(measure = 'uk', m.persons <= toDecimal64(limit, 6) * (m.persons + m.connected * m.known),
       m.late <= toDecimal64(limit, 6) * m.live) AS compliant
FROM
(
    SELECT
        e.campaign_id AS campaign_id,
        term.1 AS measure,
        any(term.2) AS share,
        intDiv(greatest(0, dateDiff('day', b.first_day, e.day)), greatest(1, term.4)) AS before,
        before + 1 AS number,
        if(measure = 'uk', e.day, (b.first_day + before * term.4)::Date) AS first_day,
        first_day + any(term.4) - 1 AS last_day,
        countIf(e.live) AS live,
        countIf(e.live AND (e.wait_us IS NULL OR e.wait_us > round(term.3 * 1e6))) AS late,
        countIf(e.live AND e.outcome = 'connected') AS connected,
        countIf(e.live AND e.outcome = 'abandoned') AS dropped,
        countIf(e.live AND e.outcome = 'connected' AND e.unknown) AS unknown_connected,
        countIf(e.live AND e.outcome = 'abandoned' AND e.unknown) AS unknown_dropped,
        countIf(NOT e.live AND e.outcome = 'connected' AND e.unknown) AS machines,
        greatest(1, unknown_connected + machines) AS known,
        -- Those abandoned who were persons, times `known`, so that it is whole.
        dropped * known - unknown_dropped * machines AS persons
    FROM ended AS e
    INNER JOIN begun AS b ON b.campaign_id = e.campaign_id
    ARRAY JOIN arrayConcat(
        [('us', 0.03, 2.0, 30), ('uk', 0.03, 2.0, 1)],
        if(b.contract_limit > 0,
           [('contract', b.contract_limit, b.contract_connect_seconds, b.contract_period_days)], []))
        AS term
    GROUP BY campaign_id, measure, before, first_day
) AS m
WHERE if(measure = 'uk', m.persons + m.connected > 0, m.live > 0);

-- Agents' logged-in time, divided among calls without a rest: each state belongs to its call, one
-- without a call to the agent's next call of the same login, and what comes after the last call of a
-- login to that. Time in a foreign call, and logins without any call, belong to none. A call is an
-- attempt's when it has its id.
--
-- first, last: days of UTC, as in agent_states_of.
CREATE OR REPLACE VIEW agent_seconds_of AS
SELECT
    splitByChar('/', owner)[1] AS client_id,
    splitByChar('/', owner)[2] AS call_id,
    sum(t.seconds) AS agent_s
FROM
(
    SELECT
        s.seconds AS seconds,
        multiIf(
            s.state = 'other_call', '',
            s.call != '', s.call,
            ifNull(last_value(nullIf(s.call, '')) OVER backwards, '') != '',
            last_value(nullIf(s.call, '')) OVER backwards,
            last_value(nullIf(s.call, '')) OVER forwards) AS owner
    FROM
    (
        SELECT
            a.agent_id AS agent_id, a.pool_id AS pool_id, a.version AS version, a.state AS state,
            a.call AS call, a.seconds AS seconds,
            countIf(a.state = 'logged_in') OVER (PARTITION BY a.pool_id, a.agent_id ORDER BY a.version
                ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW) AS login
        FROM agent_states_of(first = {first:Date32}, last = {last:Date32}) AS a
    ) AS s
    WHERE s.state != 'logged_out'
    WINDOW
        backwards AS (PARTITION BY s.pool_id, s.agent_id, s.login ORDER BY s.version DESC
                      ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW),
        forwards AS (PARTITION BY s.pool_id, s.agent_id, s.login ORDER BY s.version
                     ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW)
) AS t
WHERE ifNull(t.owner, '') != ''
GROUP BY owner;

-- The figures of the attempts that were started in a range of the client's days, the last one exclusive,
-- whatever became of them and whenever. A row for each `by`: all, campaign, list, campaign-hour (the hour
-- of the client's day, 0 to 23) or day. Costs are those that were in force when an attempt was started.
-- They are added up times an hour's microseconds, and divided once, so that no cent is rounded away.
-- leads, attempted and closed: as they stand now, whenever they were dialled; NULL by hour and by day.
CREATE OR REPLACE VIEW campaign_kpi AS
WITH
    coalesce(nullIf((SELECT max(time_zone) FROM clients WHERE client_id = {client:String}), ''),
             'UTC') AS zone,
    grouped AS
    (
        SELECT
            multiIf({by:String} IN ('campaign', 'campaign-hour'), a.campaign_id::String,
                    {by:String} = 'list', a.list_id::String,
                    {by:String} = 'day', toString(toDate(a.started_at, zone)), '') AS name,
            if({by:String} = 'campaign-hour', toHour(toTimeZone(a.started_at, zone)), NULL) AS hour,
            count() AS attempts,
            countIf(a.contact) AS contacts,
            uniqExact(a.campaign_id, a.lead_id) AS leads_attempted,
            uniqExactIf((a.campaign_id, a.lead_id), a.contact) AS leads_contacted,
            countIf(a.connected) AS connected,
            uniqExactIf((a.campaign_id, a.lead_id), a.converted) AS converted,
            sum(a.talked_us) AS talked_us,
            countIf(a.live) AS live,
            countIf(a.abandoned) AS abandoned,
            sum(ifNull(t.agent_s, 0)) AS agent_s,
            sumMapIf(map(s.currency,
                s.cost_per_attempt * 3600000000
                + s.cost_per_minute * 60 * if(a.answered_at IS NULL OR a.ended_at IS NULL, 0,
                      greatest(0, toUnixTimestamp64Micro(a.ended_at)
                                  - toUnixTimestamp64Micro(a.answered_at)))
                + s.cost_per_agent_hour * round(ifNull(t.agent_s, 0) * 1e6)::Int64), s.currency != '') AS spent
        FROM attempts AS a
        ASOF LEFT JOIN
        (
            SELECT campaign_id, since, currency::String AS currency, cost_per_attempt,
                   cost_per_minute, cost_per_agent_hour
            FROM campaign_settings WHERE client_id = {client:String}
        ) AS s ON s.campaign_id = a.campaign_id AND s.since <= a.started_at
        LEFT JOIN
        (
            SELECT call_id, agent_s
            FROM agent_seconds_of(first = {from_date:Date} - 3, last = {to_date:Date} + 3)
            WHERE client_id = {client:String}
        ) AS t ON t.call_id = a.attempt_id
        WHERE a.client_id = {client:String} AND a.dialled
          AND {by:String} IN ('all', 'campaign', 'list', 'campaign-hour', 'day')
          AND a.started_day BETWEEN {from_date:Date} - 1 AND {to_date:Date} + 1
          AND toDate(a.started_at, zone) >= {from_date:Date}
          AND toDate(a.started_at, zone) < {to_date:Date}
        GROUP BY name, hour
    ),
    listed AS
    (
        SELECT
            multiIf({by:String} = 'campaign', l.campaign_id::String,
                    {by:String} = 'list', l.list_id::String, '') AS name,
            count() AS leads,
            countIf(l.attempted) AS attempted,
            countIf(l.closed) AS closed
        FROM leads AS l
        WHERE l.client_id = {client:String} AND {by:String} IN ('all', 'campaign', 'list')
        GROUP BY name
    )
SELECT
    g.name AS name,
    g.hour AS hour,
    g.attempts AS attempts,
    g.contacts AS contacts,
    contacts / attempts AS contact_rate,
    g.leads_attempted AS leads_attempted,
    g.leads_contacted AS leads_contacted,
    leads_contacted / leads_attempted AS lead_contact_rate,
    if(contacts = 0, NULL, attempts / contacts) AS attempts_per_contact,
    g.connected AS connected,
    g.converted AS converted,
    if(leads_contacted = 0, NULL, converted / leads_contacted) AS conversion,
    converted / attempts AS conversion_per_attempt,
    g.talked_us / 1e6 AS talked_s,
    g.agent_s AS agent_s,
    if(agent_s = 0, NULL, talked_s / agent_s) AS talk_share,
    g.live AS live,
    g.abandoned AS abandoned,
    if(live = 0, NULL, abandoned / live) AS abandonment_rate,
    mapApply((k, v) -> (k, v / 3600000000), g.spent) AS cost,
    mapApply((k, v) -> (k, v / 3600000000 / greatest(converted, 1)),
             mapFilter((k, v) -> converted > 0, g.spent)) AS cost_per_sale,
    nullIf(l.leads, 0) AS leads,
    if(l.leads = 0, NULL, l.attempted / l.leads) AS penetration,
    if(l.leads = 0, NULL, l.closed / l.leads) AS exhaustion
FROM grouped AS g
LEFT JOIN listed AS l ON l.name = g.name;
