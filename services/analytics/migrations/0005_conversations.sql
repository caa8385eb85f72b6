-- What was said in calls: one row per call, and one per call and offer.
--
-- The last word counts, by the version in the call's own stream. The greatest of tuples that begin
-- with the version is the last word, whatever the order in which they come, and however often; a set
-- of ids grows by what is new alone. So both may be facts beside min and max of values.
-- They are not columns of call_facts: who asks how calls were answered does not read them.
--
-- Facts of tuples are read by GROUP BY, never with FINAL: a view that names an element of a tuple reads
-- that element's subcolumn alone, and FINAL then takes whichever row of it comes first.

CREATE TABLE IF NOT EXISTS call_outcome_facts
(
    client_id     LowCardinality(String),
    call_id       String,
    customer      SimpleAggregateFunction(max, Tuple(version Int64, customer_id String)),
    classified    SimpleAggregateFunction(max, Tuple(version Int64, topic_id String,
                      path Array(String), agent_id String, at DateTime64(6, 'UTC'))),
    dispositioned SimpleAggregateFunction(max, Tuple(version Int64, disposition String,
                      agent_id String, at DateTime64(6, 'UTC'))),
    notes         SimpleAggregateFunction(groupUniqArrayArray, Array(String)),
    articles      SimpleAggregateFunction(groupUniqArrayArray, Array(String))
)
ENGINE = AggregatingMergeTree
ORDER BY (client_id, call_id)
SETTINGS non_replicated_deduplication_window = 1000;

CREATE MATERIALIZED VIEW IF NOT EXISTS call_outcome_facts_from_events TO call_outcome_facts AS
SELECT
    client_id,
    call_id,
    maxIf((e.version, e.customer_id), e.customer_id != '')
        ::Tuple(version Int64, customer_id String) AS customer,
    maxIf((e.version, e.topic_id, e.path, e.agent_id, e.occurred_at),
          e.event_type = 'CallClassified')
        ::Tuple(version Int64, topic_id String, path Array(String), agent_id String,
                at DateTime64(6, 'UTC')) AS classified,
    maxIf((e.version, e.disposition, e.agent_id, e.occurred_at),
          e.event_type = 'CallDispositioned')
        ::Tuple(version Int64, disposition String, agent_id String, at DateTime64(6, 'UTC'))
        AS dispositioned,
    groupUniqArrayIf(e.note_id, e.event_type = 'CallNoted') AS notes,
    groupUniqArrayIf(toString(e.article_id), e.event_type = 'ArticleHelped') AS articles
FROM customer_events AS e
WHERE e.event_type IN ('CallAttributed', 'CallNoted', 'CallClassified', 'CallDispositioned',
                       'OfferAccepted', 'OfferRefused', 'ArticleHelped')
GROUP BY client_id, call_id;

CREATE OR REPLACE VIEW call_outcomes AS
SELECT
    client_id,
    call_id,
    max(f.customer).customer_id AS customer_id,
    max(f.classified).topic_id AS topic_id,
    max(f.classified).path AS topic_path,
    max(f.classified).agent_id AS classified_by,
    max(f.dispositioned).disposition AS disposition,
    max(f.dispositioned).agent_id AS dispositioned_by,
    length(groupUniqArrayArray(f.notes)) AS notes,
    groupUniqArrayArray(f.articles) AS articles
FROM call_outcome_facts AS f
GROUP BY client_id, call_id;

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

CREATE TABLE IF NOT EXISTS offer_answer_facts
(
    client_id LowCardinality(String),
    call_id   String,
    offer_id  LowCardinality(String),
    answer    SimpleAggregateFunction(max, Tuple(version Int64, accepted Bool, reason String,
                  not_before String, customer_id String, agent_id String,
                  at DateTime64(6, 'UTC')))
)
ENGINE = AggregatingMergeTree
ORDER BY (client_id, call_id, offer_id)
SETTINGS non_replicated_deduplication_window = 1000;

CREATE MATERIALIZED VIEW IF NOT EXISTS offer_answer_facts_from_events TO offer_answer_facts AS
SELECT
    client_id,
    call_id,
    offer_id,
    max((e.version, e.event_type = 'OfferAccepted', e.reason, e.not_before, e.customer_id,
         e.agent_id, e.occurred_at))
        ::Tuple(version Int64, accepted Bool, reason String, not_before String,
                customer_id String, agent_id String, at DateTime64(6, 'UTC')) AS answer
FROM customer_events AS e
WHERE e.event_type IN ('OfferAccepted', 'OfferRefused')
GROUP BY client_id, call_id, offer_id;

CREATE OR REPLACE VIEW offer_answers AS
SELECT
    client_id,
    call_id,
    offer_id,
    max(f.answer).customer_id AS customer_id,
    max(f.answer).accepted AS accepted,
    max(f.answer).reason AS reason,
    toDate32OrNull(max(f.answer).not_before) AS not_before,
    max(f.answer).agent_id AS agent_id,
    max(f.answer).at AS answered_at
FROM offer_answer_facts AS f
GROUP BY client_id, call_id, offer_id;

-- The last answer of each customer to each offer, in whichever call and by whichever of the records
-- that were merged.
CREATE OR REPLACE VIEW customer_offer_answers AS
SELECT * EXCEPT (last)
FROM
(
    SELECT
        a.client_id AS client_id,
        if(m.survivor_id != '', m.survivor_id, a.customer_id) AS customer_id,
        a.offer_id AS offer_id,
        argMax((a.accepted, a.reason, a.not_before, a.call_id, a.agent_id),
               (a.answered_at, a.call_id)) AS last,
        last.1 AS accepted,
        last.2 AS reason,
        last.3 AS not_before,
        last.4 AS call_id,
        last.5 AS agent_id,
        max(a.answered_at) AS answered_at,
        count() AS answers
    FROM offer_answers AS a
    LEFT JOIN merged_customers AS m
        ON m.client_id = a.client_id AND m.customer_id = a.customer_id
    WHERE a.customer_id != ''
    GROUP BY client_id, customer_id, offer_id
);

-- Why customers refuse: a day's refusals of an offer for a reason, by the client's own days.
CREATE OR REPLACE VIEW refusals AS
WITH coalesce(nullIf((SELECT max(time_zone) FROM clients WHERE client_id = {client:String}), ''),
              'UTC') AS zone
SELECT
    toDate(a.answered_at, zone) AS day,
    a.offer_id AS offer_id,
    a.reason AS reason,
    count() AS refusals,
    uniqExactIf(a.customer_id, a.customer_id != '') AS customers
FROM offer_answers AS a
WHERE a.client_id = {client:String} AND NOT a.accepted
GROUP BY day, offer_id, reason;

CREATE OR REPLACE VIEW helpful_articles AS
SELECT
    client_id,
    article_id,
    article_version,
    uniqExact(e.call_id) AS calls
FROM customer_events AS e
WHERE e.event_type = 'ArticleHelped'
GROUP BY client_id, article_id, article_version;
