-- Attempts, leads and campaigns: one row each; and what the rules forbade.
--
-- Every event of an attempt says where it belongs, so facts are kept in the order in which they are
-- asked for: campaign and day. They are min, max, sets and last words by version (0002_calls.sql):
-- copies change nothing, nor does the order. Leads are folded when asked for, without FINAL, as orders
-- are (0009_orders.sql).

CREATE TABLE IF NOT EXISTS attempt_facts
(
    client_id         LowCardinality(String),
    campaign_id       LowCardinality(String),
    started_day       Date COMMENT 'of UTC',
    attempt_id        String,
    started_at        SimpleAggregateFunction(min, DateTime64(6, 'UTC')),
    list_id           SimpleAggregateFunction(max, LowCardinality(String)),
    lead_id           SimpleAggregateFunction(max, String),
    customer_id       SimpleAggregateFunction(max, String),
    number_id         SimpleAggregateFunction(max, String),
    number_of_attempt SimpleAggregateFunction(max, Int32),
    invented          SimpleAggregateFunction(groupUniqArrayArray, Array(String)),
    mode              SimpleAggregateFunction(max, LowCardinality(String)),
    allowed_by        SimpleAggregateFunction(groupUniqArrayArray,
        Array(Tuple(rule String, version Int64, said String))),
    policy            SimpleAggregateFunction(max, LowCardinality(String)),
    because           SimpleAggregateFunction(max, String),
    wanted_agent_id   SimpleAggregateFunction(max, LowCardinality(String)),
    country           SimpleAggregateFunction(max, LowCardinality(String)),
    region            SimpleAggregateFunction(max, LowCardinality(String)),
    answered_at       SimpleAggregateFunction(min, Nullable(DateTime64(6, 'UTC'))),
    greeting_ended_at SimpleAggregateFunction(min, Nullable(DateTime64(6, 'UTC'))),
    connected_at      SimpleAggregateFunction(min, Nullable(DateTime64(6, 'UTC'))),
    abandoned_at      SimpleAggregateFunction(min, Nullable(DateTime64(6, 'UTC'))),
    ended_at          SimpleAggregateFunction(min, Nullable(DateTime64(6, 'UTC'))),
    answered_by       SimpleAggregateFunction(max, LowCardinality(String)),
    agent_id          SimpleAggregateFunction(max, LowCardinality(String)),
    rang_us           SimpleAggregateFunction(max, Int64),
    waited_us         SimpleAggregateFunction(max, Nullable(Int64)),
    talked_us         SimpleAggregateFunction(max, Int64),
    message_played    SimpleAggregateFunction(max, Bool),
    result            SimpleAggregateFunction(max, LowCardinality(String)),
    cause             SimpleAggregateFunction(max, String),
    callback_wanted   SimpleAggregateFunction(max, Bool),
    disposed          AggregateFunction(argMaxIf, Tuple(disposition String, agent_id String,
        converted Bool, refusal_reason String), Int64, UInt8)
)
ENGINE = AggregatingMergeTree
ORDER BY (client_id, campaign_id, started_day, attempt_id)
SETTINGS non_replicated_deduplication_window = 1000;

CREATE MATERIALIZED VIEW IF NOT EXISTS attempt_facts_from_events TO attempt_facts AS
SELECT
    client_id,
    e.origin_campaign_id AS campaign_id,
    toDate(e.origin_started_at) AS started_day,
    attempt_id,
    min(e.origin_started_at) AS started_at,
    max(e.origin_list_id) AS list_id,
    max(e.origin_lead_id) AS lead_id,
    max(e.origin_customer_id) AS customer_id,
    max(e.origin_number_id) AS number_id,
    max(e.origin_number_of_attempt) AS number_of_attempt,
    groupUniqArrayArray(e.origin_invented)::Array(String) AS invented,
    max(e.mode) AS mode,
    groupUniqArrayArray(e.allowed_by)
        ::Array(Tuple(rule String, version Int64, said String)) AS allowed_by,
    max(e.policy) AS policy,
    max(e.because) AS because,
    maxIf(e.agent_id, e.event_type = 'AttemptStarted') AS wanted_agent_id,
    max(e.country) AS country,
    max(e.region) AS region,
    minOrNullIf(e.occurred_at, e.event_type = 'AttemptAnswered') AS answered_at,
    minOrNullIf(e.occurred_at, e.event_type = 'AttemptGreetingEnded') AS greeting_ended_at,
    minOrNullIf(e.occurred_at, e.event_type = 'AttemptConnected') AS connected_at,
    minOrNullIf(e.occurred_at, e.event_type = 'AttemptAbandoned') AS abandoned_at,
    minOrNullIf(e.occurred_at, e.event_type = 'AttemptEnded') AS ended_at,
    max(if(e.by != '', e.by, e.answered_by)) AS answered_by,
    maxIf(e.agent_id, e.event_type IN ('AttemptConnected', 'AttemptEnded')) AS agent_id,
    max(e.rang_us) AS rang_us,
    maxOrNull(e.waited_us) AS waited_us,
    max(e.talked_us) AS talked_us,
    max(e.message_played) AS message_played,
    max(e.result) AS result,
    max(e.cause) AS cause,
    max(e.callback_wanted) AS callback_wanted,
    argMaxIfState((e.disposition::String, e.agent_id::String, e.converted, e.refusal_reason::String)
                      ::Tuple(disposition String, agent_id String, converted Bool,
                              refusal_reason String),
                  e.version, e.event_type = 'AttemptDisposed') AS disposed
FROM attempt_events AS e
GROUP BY client_id, campaign_id, started_day, attempt_id;

-- contact: a person answered, or somebody of whom the carrier could not tell, or did not. An attempt
-- that was never dialled is a row, and in no figure.
-- live: a contact that the legal measure counts, as the dialer's measure does: it was to have an agent,
-- and was no machine by the agent's word. wait_us: how long the person waited for one since the end of
-- the greeting, until an agent came or the person went; NULL: nobody ever came.
CREATE OR REPLACE VIEW attempts AS
SELECT
    client_id,
    campaign_id,
    list_id,
    lead_id,
    attempt_id,
    number_of_attempt,
    customer_id,
    number_id,
    country,
    region,
    mode,
    policy,
    because,
    wanted_agent_id,
    arraySort(f.allowed_by) AS allowed_by,
    started_at,
    answered_at,
    greeting_ended_at,
    connected_at,
    abandoned_at,
    ended_at,
    if(f.result != '', f.result::String, 'open') AS outcome,
    answered_by,
    cause,
    outcome != 'not_dialled' AS dialled,
    answered_by IN ('human', 'unknown')
        OR answered_by = '' AND outcome IN ('connected', 'delivered', 'abandoned') AS contact,
    connected_at IS NOT NULL AS connected,
    outcome = 'connected' AND disposition = 'answering-machine' AS heard_machine,
    contact AND mode != 'message' AND outcome IN ('connected', 'abandoned', 'hung_up')
        AND NOT heard_machine AS live,
    multiIf(outcome = 'connected', waited_us,
            outcome = 'hung_up', ifNull(waited_us, if(greeting_ended_at IS NULL, 0, greatest(0,
                toUnixTimestamp64Micro(ended_at) - toUnixTimestamp64Micro(greeting_ended_at)))),
            NULL) AS wait_us,
    live AND (wait_us IS NULL OR wait_us > 2000000) AS abandoned,
    message_played,
    rang_us,
    waited_us,
    talked_us,
    rang_us / 1e6 AS rang_s,
    waited_us / 1e6 AS waited_s,
    talked_us / 1e6 AS talked_s,
    agent_id,
    finalizeAggregation(f.disposed) AS disposed,
    disposed.1::LowCardinality(String) AS disposition,
    disposed.2 AS disposed_by,
    disposed.3 AS converted,
    disposed.4 AS refusal_reason,
    callback_wanted,
    arraySort(f.invented) AS invented,
    started_day
FROM attempt_facts AS f FINAL;

-- A lead as it stands, in the dialer's words. A callback that is promised while the lead is dialled waits
-- for the call's end; a number that no rule will ever allow does not close the lead, if it has others;
-- and a lead that is closed is so until it is reopened, though an attempt of it may still go on.
CREATE OR REPLACE VIEW leads AS
SELECT * EXCEPT (turn, promise)
FROM
(
    SELECT
        client_id,
        campaign_id,
        e.lead_lead_id AS lead_id,
        max(e.lead_list_id) AS list_id,
        argMaxIf(e.lead_customer_id, e.version, e.lead_customer_id != '') AS customer_id,
        argMaxIf(e.source, e.version, e.event_type = 'LeadAdded') AS source,
        argMaxIf(e.priority, e.version, e.event_type = 'LeadAdded') AS priority,
        argMaxIf(e.numbers, e.version,
                 e.event_type = 'LeadAdded'
                 OR e.event_type = 'LeadCorrected' AND has(e.fields, 'numbers')) AS numbers,
        minOrNullIf(e.occurred_at, e.event_type = 'LeadAdded') AS added_at,
        uniqExactIf(e.version, e.event_type = 'LeadDialled') AS attempts,
        max(e.event_type = 'LeadDialled') AS attempted,
        minOrNullIf(e.occurred_at, e.event_type = 'LeadDialled') AS first_dialled_at,
        maxOrNullIf(e.occurred_at, e.event_type = 'LeadDialled') AS last_dialled_at,
        uniqExactIf(e.version, e.event_type = 'LeadHeldBack') AS held_back,
        uniqExactIf(e.version, e.event_type = 'LeadPreviewSkipped') AS skipped,
        uniqExactIf(e.version, e.event_type = 'LeadCallbackPromised') AS callbacks_promised,
        uniqExactIf(e.version, e.event_type = 'LeadCallbackEscalated') AS callbacks_escalated,
        argMaxIf(e.event_type = 'LeadClosed', e.version,
                 e.event_type IN ('LeadAdded', 'LeadClosed', 'LeadReopened')) AS closed,
        maxIf((e.version, e.event_type::String, if(e.until > 0, e.until, e.due_at)),
              e.event_type IN ('LeadAdded', 'LeadDialled', 'LeadScheduled', 'LeadHeldBack',
                               'LeadReopened', 'LeadPreviewed', 'LeadPreviewAccepted',
                               'LeadPreviewSkipped', 'LeadPreviewExpired')) AS turn,
        maxIf((e.version, e.from_at), e.event_type = 'LeadCallbackPromised') AS promise,
        multiIf(closed, 'closed', turn.2 = 'LeadDialled', 'dialling',
                turn.1 > promise.1 AND turn.2 IN ('LeadPreviewed', 'LeadPreviewAccepted'),
                'previewed', 'waiting') AS state,
        multiIf(state != 'waiting', NULL, promise.1 > turn.1, promise.2,
                turn.3 > 0, turn.3, NULL) AS due_at,
        if(closed, argMaxIf(e.reason, e.version, e.event_type = 'LeadClosed'), '') AS closed_reason
    FROM campaign_events AS e
    WHERE e.lead_lead_id != ''
    GROUP BY client_id, campaign_id, lead_id
);

-- Each time that it was a lead's turn and a rule forbade it: a row per rule.
CREATE OR REPLACE VIEW held_back AS
SELECT
    client_id,
    campaign_id,
    e.lead_list_id AS list_id,
    e.lead_lead_id AS lead_id,
    e.occurred_at AS held_back_at,
    if(e.until > 0, e.until, NULL) AS until,
    forbidden.1 AS rule,
    forbidden.2 AS rule_version,
    forbidden.3 AS said,
    e.number_id AS number_id,
    e.version AS version
FROM campaign_events AS e FINAL
ARRAY JOIN e.forbidden_by AS forbidden
WHERE e.event_type = 'LeadHeldBack';

-- What a campaign was set to, from when until when. Amounts are of `currency`; a limit of 0: the client
-- has no contract of its own.
CREATE OR REPLACE VIEW campaign_settings AS
SELECT
    client_id,
    campaign_id,
    e.occurred_at AS since,
    leadInFrame(e.occurred_at::Nullable(DateTime64(6, 'UTC'))) OVER settings AS until,
    e.settings_name AS name,
    e.settings_purpose AS purpose,
    e.settings_mode AS mode,
    e.settings_pool_id AS pool_id,
    e.settings_queue_id AS queue_id,
    e.settings_offer_id AS offer_id,
    e.settings_questionnaire_id AS questionnaire_id,
    e.settings_priority AS priority,
    e.settings_ratio AS ratio,
    e.settings_target_abandonment AS target_abandonment,
    e.settings_contract_limit AS contract_limit,
    e.settings_contract_connect_seconds AS contract_connect_seconds,
    e.settings_contract_period_days AS contract_period_days,
    e.settings_costs_currency AS currency,
    toDecimal128OrZero(e.settings_costs_per_attempt, 6) AS cost_per_attempt,
    toDecimal128OrZero(e.settings_costs_per_minute, 6) AS cost_per_minute,
    toDecimal128OrZero(e.settings_costs_per_agent_hour, 6) AS cost_per_agent_hour,
    e.settings_goals_contacts AS goal_contacts,
    e.settings_goals_conversions AS goal_conversions,
    e.settings_goals_attempts AS goal_attempts,
    toDecimal128OrZero(e.settings_goals_budget, 6) AS budget,
    e.settings_ring_seconds AS ring_seconds,
    e.settings_machine_detection AS machine_detection,
    e.version AS version
FROM campaign_events AS e FINAL
WHERE e.event_type IN ('CampaignDrafted', 'CampaignRevised')
WINDOW settings AS (PARTITION BY client_id, campaign_id ORDER BY e.version
                    ROWS BETWEEN CURRENT ROW AND 1 FOLLOWING);

-- As they stand, with the settings that are in force. mode: what is set; mode_now: what holds since the
-- measure has lowered it.
CREATE OR REPLACE VIEW campaigns AS
SELECT
    s.client_id AS client_id,
    s.campaign_id AS campaign_id,
    s.* EXCEPT (client_id, campaign_id, since, until, version),
    c.state AS state,
    if(c.lowered_to != '', c.lowered_to, s.mode::String) AS mode_now,
    c.lowered_by AS lowered_by,
    c.first_started_at AS first_started_at,
    c.stopped_at AS stopped_at,
    c.stop_reason AS stop_reason
FROM campaign_settings AS s
INNER JOIN
(
    SELECT
        client_id,
        campaign_id,
        transform(argMaxIf(e.event_type, e.version,
                           e.event_type IN ('CampaignDrafted', 'CampaignStarted', 'CampaignPaused',
                                            'CampaignStopped'))::String,
                  ['CampaignStarted', 'CampaignPaused', 'CampaignStopped'],
                  ['running', 'paused', 'stopped'], 'draft') AS state,
        minOrNullIf(e.occurred_at, e.event_type = 'CampaignStarted') AS first_started_at,
        minOrNullIf(e.occurred_at, e.event_type = 'CampaignStopped') AS stopped_at,
        maxIf(e.reason, e.event_type = 'CampaignStopped') AS stop_reason,
        argMaxIf((e.to_mode::String, e.measure::String), e.version,
                 e.event_type IN ('CampaignModeLowered', 'CampaignModeRestored')) AS lowered,
        lowered.1 AS lowered_to,
        lowered.2 AS lowered_by
    FROM campaign_events AS e
    WHERE e.lead_lead_id = ''
    GROUP BY client_id, campaign_id
) AS c ON c.client_id = s.client_id AND c.campaign_id = s.campaign_id
WHERE s.until IS NULL;
