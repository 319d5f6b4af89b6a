"""How often we may connect."""

from ingestor.sockets.connect_budget import ConnectBudget


def test_the_last_places_are_kept_for_the_private_socket():
    budget = ConnectBudget(most=5, per_s=300.0, kept_for_private=2)
    assert [budget.wait_s(private=False, now=float(n)) for n in range(3)] == [0.0, 0.0, 0.0]
    assert budget.wait_s(private=False, now=3.0) == 297.0
    assert budget.wait_s(private=True, now=3.0) == 0.0


def test_a_place_is_free_again_when_its_time_is_over():
    budget = ConnectBudget(most=1, per_s=300.0, kept_for_private=0)
    budget.wait_s(private=False, now=0.0)
    assert budget.wait_s(private=False, now=100.0) == 200.0
    assert budget.wait_s(private=False, now=300.0) == 0.0
