"""What agents of the demo write: the same for the same seed, and only what the catalogue has."""

from relaisctl.replay import desk, shift

CALLS = [
    desk.Answered(company.client_id, f"r1-{queue.queue_id}-{n}", queue.queue_id, "a-1", f"c{n % 7}")
    for company in shift.COMPANIES
    for queue in company.queues
    for n in range(60)
]


def test_a_seed_gives_the_same() -> None:
    def written(seed: int) -> list[desk.Request]:
        return [request for call in CALLS for request in desk.after_call(call, seed)]

    assert written(1) == written(1) != written(2)
    assert desk.customers(CALLS, 1) == desk.customers(CALLS, 1)


def test_every_company_of_the_shift_has_a_desk_for_every_queue() -> None:
    for company in shift.COMPANIES:
        assert desk.DESKS[company.client_id].topics.keys() == {q.queue_id for q in company.queues}


def test_only_what_the_catalogue_has_is_chosen() -> None:
    catalogues = {client_id: desk.set_up(client_id).body for client_id in desk.DESKS}
    kinds = set()
    for call in CALLS:
        catalogue = catalogues[call.client_id]
        for request in desk.after_call(call, 1):
            body = request.body
            kinds.add(request.path.rpartition("/")[2])
            assert body.get("topic_id", next(iter(catalogue["topics"]))) in catalogue["topics"]
            assert body.get("disposition", "resolved") in catalogue["dispositions"]
            assert body.get("reason", "no-need") in catalogue["refusal_reasons"]
            if "/offers/" in request.path:
                assert request.path.split("/")[3] in catalogue["offers"]
    assert {"topic", "disposition", "accepted", "refused", "complaints", "acknowledge"} <= kinds
