-- Orders: one row each, made of its events when asked for; their visits and lines; and their figures.
--
-- The views fold the events without FINAL: a copy cannot change a minimum, the last by version, or a
-- count of different versions, and neither can the order in which events come.

-- Status and visit are the words of orders: a visit that was still to come is none once its order is
-- cancelled or its draft has expired. counted_at: the moment by whose day an order counts, once: its
-- placement, or its first word while it is not placed.
CREATE OR REPLACE VIEW orders AS
SELECT * EXCEPT (turn, visit_turn, visit, sold)
FROM
(
    SELECT
        client_id,
        order_id,
        max(e.origin_product_id) AS product_id,
        max(e.origin_form_version) AS form_version,
        max(e.origin_customer_id) AS customer_id,
        max(e.origin_call_id) AS call_id,
        max(e.origin_agent_id) AS agent_id,
        max(e.origin_campaign_id) AS campaign_id,
        max(e.origin_offer_id) AS offer_id,
        max(e.origin_channel) AS channel,

        argMaxIf(e.event_type, e.version,
                 e.event_type IN ('OrderDrafted', 'OrderDraftExpired', 'OrderPlaced',
                                  'OrderConfirmed', 'OrderFulfilled', 'OrderCancelled',
                                  'OrderReturned', 'OrderFailed')) AS turn,
        transform(turn::String,
                  ['OrderDraftExpired', 'OrderPlaced', 'OrderConfirmed', 'OrderFulfilled',
                   'OrderCancelled', 'OrderReturned', 'OrderFailed'],
                  ['expired', 'placed', 'confirmed', 'fulfilled', 'cancelled', 'returned', 'failed'],
                  'draft') AS status,
        minOrNullIf(e.occurred_at, e.event_type = 'OrderDrafted') AS drafted_at,
        minOrNullIf(if(e.event_type = 'OrderPlaced', e.occurred_at, e.placed_at),
                    e.event_type = 'OrderPlaced' OR e.placed_at > 0) AS placed_at,
        minOrNullIf(e.occurred_at, e.event_type = 'OrderConfirmed') AS confirmed_at,
        minOrNullIf(e.occurred_at, e.event_type = 'OrderFulfilled') AS fulfilled_at,
        minOrNullIf(e.occurred_at, e.event_type = 'OrderCancelled') AS cancelled_at,
        minOrNullIf(e.occurred_at, e.event_type = 'OrderReturned') AS returned_at,
        minOrNullIf(e.occurred_at, e.event_type = 'OrderFailed') AS failed_at,
        minOrNullIf(e.occurred_at, e.event_type = 'OrderDraftExpired') AS expired_at,
        coalesce(placed_at, drafted_at, min(e.occurred_at)) AS counted_at,
        placed_at IS NOT NULL AS placed,
        placed AND cancelled_at IS NOT NULL AS cancelled,
        fulfilled_at IS NOT NULL AS fulfilled,
        returned_at IS NOT NULL AS returned,
        failed_at IS NOT NULL AS failed,
        placed AND NOT cancelled AND NOT returned AND NOT failed AS stands,

        argMinIf((e.total_amount, e.monthly_amount,
                  if(e.total_currency != '', e.total_currency, e.monthly_currency)::String),
                 e.version,
                 e.event_type IN ('OrderPlaced', 'OrderFulfilled', 'OrderCancelled',
                                  'OrderReturned', 'OrderFailed')) AS sold,
        toDecimal128OrZero(sold.1, 4) AS total,
        toDecimal128OrZero(sold.2, 4) AS monthly,
        sold.3 AS currency,
        argMaxIf(e.reason, e.version,
                 e.event_type IN ('OrderCancelled', 'OrderReturned', 'OrderFailed')) AS reason,
        argMaxIf(e.by, e.version, e.event_type = 'OrderCancelled') AS cancelled_by,
        argMaxIf(e.reference, e.version, e.event_type = 'OrderConfirmed') AS reference,
        argMaxIf(e.reported, e.version, e.event_type = 'OrderPlaced') AS reported,

        argMaxIf(e.event_type, e.version,
                 e.event_type IN ('OrderVisitScheduled', 'OrderVisitRescheduled',
                                  'OrderVisitReleased', 'OrderVisitMissed', 'OrderVisitDone')
                 OR e.event_type = 'OrderPlaced' AND e.visit_visit_id != '') AS visit_turn,
        multiIf(visit_turn = 'OrderVisitDone', 'done', visit_turn = 'OrderVisitMissed', 'missed',
                visit_turn IN ('', 'OrderVisitReleased') OR status IN ('cancelled', 'expired'),
                'none', 'scheduled') AS visit_state,
        argMaxIf((e.visit_visit_id, e.visit_crew_id, e.visit_area_id, e.visit_skill,
                  e.visit_starts_at, e.visit_ends_at), e.version, e.visit_visit_id != '') AS visit,
        if(visit_state = 'none', '', visit.1) AS visit_id,
        if(visit_state = 'none', '', visit.2) AS crew_id,
        if(visit_state = 'none', '', visit.3) AS area_id,
        if(visit_state = 'none', '', visit.4) AS skill,
        if(visit_state = 'none', NULL, visit.5) AS visit_starts_at,
        if(visit_state = 'none', NULL, visit.6) AS visit_ends_at,
        uniqExactIf(e.version, e.event_type = 'OrderVisitRescheduled') AS reschedules,
        uniqExactIf(e.version, e.event_type = 'OrderVisitMissed') AS misses,
        uniqExactIf(e.version, e.event_type = 'OrderVisitOverdue') AS overdue
    FROM order_events AS e
    WHERE startsWith(e.event_type, 'Order')
    GROUP BY client_id, order_id
);

-- A visit that is moved is another one: `replaces` says which it was booked instead of. One that was
-- missed stays missed. What its order gave up, by its end or by letting it go, is released.
CREATE OR REPLACE VIEW visits AS
SELECT
    v.* EXCEPT (booked, moved_at, let_go_at, done_at, missed_at),
    multiIf(v.done_at IS NOT NULL, 'done', v.missed_at IS NOT NULL, 'missed',
            v.moved_at IS NOT NULL, 'moved',
            v.let_go_at IS NOT NULL OR o.ended_at IS NOT NULL, 'released', 'scheduled') AS outcome,
    coalesce(v.done_at, v.missed_at, v.moved_at, v.let_go_at, o.ended_at) AS outcome_at
FROM
(
    SELECT
        client_id,
        told.1 AS visit_id,
        order_id,
        max(e.origin_product_id) AS product_id,
        argMax((told.2, told.3, told.4, told.5, told.6), e.version) AS booked,
        booked.1 AS crew_id,
        booked.2 AS area_id,
        booked.3 AS skill,
        booked.4 AS starts_at,
        booked.5 AS ends_at,
        minIf(e.occurred_at, NOT told.7) AS booked_at,
        maxIf(e.previous_visit_id, NOT told.7) AS replaces,
        minOrNullIf(e.occurred_at, told.7) AS moved_at,
        argMaxIf(e.reason, e.version, told.7) AS moved_reason,
        minOrNullIf(e.occurred_at, e.event_type = 'OrderVisitReleased') AS let_go_at,
        minOrNullIf(e.occurred_at, e.event_type = 'OrderVisitDone') AS done_at,
        minOrNullIf(e.occurred_at, e.event_type = 'OrderVisitMissed') AS missed_at,
        argMaxIf(e.by, e.version, e.event_type = 'OrderVisitMissed') AS missed_by,
        minOrNullIf(e.occurred_at, e.event_type = 'OrderVisitOverdue') AS overdue_at
    FROM order_events AS e
    ARRAY JOIN arrayFilter(one -> one.1 != '',
        [(e.visit_visit_id, e.visit_crew_id, e.visit_area_id, e.visit_skill,
          e.visit_starts_at, e.visit_ends_at, false),
         (e.previous_visit_id, e.previous_crew_id, e.previous_area_id, e.previous_skill,
          e.previous_starts_at, e.previous_ends_at, true)]) AS told
    WHERE startsWith(e.event_type, 'OrderVisit') OR e.event_type = 'OrderPlaced'
    GROUP BY client_id, order_id, visit_id
) AS v
LEFT JOIN
(
    SELECT client_id, order_id, minOrNull(e.occurred_at) AS ended_at
    FROM order_events AS e
    WHERE e.event_type IN ('OrderCancelled', 'OrderDraftExpired')
    GROUP BY client_id, order_id
) AS o ON o.client_id = v.client_id AND o.order_id = v.order_id;

-- What was sold: a row per line of each placed order. A price rule may stand in two lines: what is
-- paid once and what is paid every month.
CREATE OR REPLACE VIEW order_lines AS
SELECT
    client_id,
    order_id,
    product_id,
    placed_at,
    number,
    line.1 AS line_id,
    toDecimal128OrZero(line.2, 4) AS quantity,
    toDecimal128OrZero(line.3, 4) AS unit,
    toDecimal128OrZero(line.5, 4) AS amount,
    line.6 AS currency,
    line.7 AS monthly,
    line.8 AS discount
FROM
(
    SELECT
        client_id,
        order_id,
        max(e.origin_product_id) AS product_id,
        min(e.occurred_at) AS placed_at,
        argMax(e.lines, e.version) AS lines
    FROM order_events AS e
    WHERE e.event_type = 'OrderPlaced'
    GROUP BY client_id, order_id
)
ARRAY JOIN lines AS line, arrayEnumerate(lines) AS number;

-- The figures of the orders that count in a range of the client's days, the last one exclusive. A row
-- for each `by`: all, product, agent, campaign, offer, queue (of the order's call) or day; `name` is
-- empty for what has none. Cancellations and what failed after the sale count in the row and the day
-- of the placement that they undo, whenever they came: a cohort's rates may still grow.
--
-- conversion: of `occasions`, how many led to at least one placed order. What is an occasion depends
-- on what is known of it: all, agent, queue, day: an answered call, in the day in which it arrived;
-- offer: an offer that was answered in a call, in the day of the answer; product, campaign: an order
-- that was begun.
CREATE OR REPLACE VIEW order_kpi AS
WITH coalesce(nullIf((SELECT max(time_zone) FROM clients WHERE client_id = {client:String}), ''),
              'UTC') AS zone
SELECT
    name,
    sum(f.drafted) AS drafted,
    sum(f.placed) AS placed,
    sum(f.occasions) AS occasions,
    sum(f.converted) AS converted,
    if(occasions = 0, NULL, converted / occasions) AS conversion,
    sum(f.cancelled) AS cancelled,
    if(placed = 0, NULL, cancelled / placed) AS cancellation_rate,
    sum(f.fulfilled) AS fulfilled,
    sum(f.returned) AS returned,
    sum(f.failed) AS failed,
    if(fulfilled = 0, NULL, (returned + failed) / fulfilled) AS after_sale_failure_rate,
    sumMap(f.revenue) AS revenue,
    sumMap(f.net_revenue) AS net_revenue,
    sumMap(f.monthly) AS monthly,
    sumMap(f.net_monthly) AS net_monthly
FROM
(
    SELECT
        multiIf({by:String} = 'product', o.product_id::String,
                {by:String} = 'agent', o.agent_id::String,
                {by:String} = 'campaign', o.campaign_id::String,
                {by:String} = 'offer', o.offer_id::String,
                {by:String} = 'queue', c.queue_id::String,
                {by:String} = 'day', toString(toDate(o.counted_at, zone)), '') AS name,
        count() AS drafted,
        countIf(o.placed) AS placed,
        if({by:String} IN ('product', 'campaign'), drafted, 0) AS occasions,
        if({by:String} IN ('product', 'campaign'), placed, 0) AS converted,
        countIf(o.cancelled) AS cancelled,
        countIf(o.fulfilled) AS fulfilled,
        countIf(o.returned) AS returned,
        countIf(o.failed) AS failed,
        sumMapIf(map(o.currency, o.total), o.placed AND o.currency != '') AS revenue,
        sumMapIf(map(o.currency, if(o.stands, o.total, toDecimal128(0, 4))),
                 o.placed AND o.currency != '') AS net_revenue,
        sumMapIf(map(o.currency, o.monthly), o.placed AND o.currency != '') AS monthly,
        sumMapIf(map(o.currency, if(o.stands, o.monthly, toDecimal128(0, 4))),
                 o.placed AND o.currency != '') AS net_monthly
    FROM orders AS o
    LEFT JOIN
    (
        SELECT call_id, queue_id FROM calls
        WHERE client_id = {client:String} AND {by:String} = 'queue'
    ) AS c ON c.call_id = o.call_id
    WHERE o.client_id = {client:String}
      AND {by:String} IN ('all', 'product', 'agent', 'campaign', 'offer', 'queue', 'day')
      AND toDate(o.counted_at, zone) >= {from_date:Date}
      AND toDate(o.counted_at, zone) < {to_date:Date}
    GROUP BY name

    UNION ALL

    SELECT
        multiIf({by:String} = 'agent', c.agent_id::String, {by:String} = 'queue', c.queue_id::String,
                {by:String} = 'day', toString(toDate(c.arrived_at, zone)), '') AS name,
        0, 0, count(),
        countIf(c.call_id IN (SELECT e.origin_call_id FROM order_events AS e
                              WHERE e.client_id = {client:String} AND e.event_type = 'OrderPlaced')),
        0, 0, 0, 0, map(), map(), map(), map()
    FROM calls AS c
    WHERE c.client_id = {client:String} AND c.answered
      AND {by:String} IN ('all', 'agent', 'queue', 'day')
      AND toDate(c.arrived_at, zone) >= {from_date:Date}
      AND toDate(c.arrived_at, zone) < {to_date:Date}
    GROUP BY name

    UNION ALL

    SELECT
        a.offer_id::String AS name,
        0, 0, count(),
        countIf((a.call_id, a.offer_id::String) IN
                (SELECT e.origin_call_id, e.origin_offer_id::String FROM order_events AS e
                 WHERE e.client_id = {client:String} AND e.event_type = 'OrderPlaced')),
        0, 0, 0, 0, map(), map(), map(), map()
    FROM offer_answers AS a
    WHERE a.client_id = {client:String} AND {by:String} = 'offer'
      AND toDate(a.answered_at, zone) >= {from_date:Date}
      AND toDate(a.answered_at, zone) < {to_date:Date}
    GROUP BY name
) AS f
GROUP BY name;
