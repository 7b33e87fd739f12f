from __future__ import annotations

from lekiwi_deploy.testing.simulation.agenda import START, Agenda


def test_time_jumps_to_what_is_next() -> None:
    agenda, seen = Agenda(), []
    for seconds in (86400.0, 5.0, 60.0):
        agenda.after(seconds, lambda: seen.append(agenda.elapsed))
    agenda.run(90000.0)
    assert seen == [5.0, 60.0, 86400.0]
    assert (agenda.elapsed, agenda.now.date()) == (90000.0, START.date().replace(day=3))


def test_what_is_due_at_once_happens_in_the_order_in_which_it_was_put_down() -> None:
    agenda, seen = Agenda(), []
    for name in ("first", "second", "third"):
        agenda.after(1.0, lambda name=name: seen.append(name))  # type: ignore[misc]
    agenda.run(1.0)
    assert seen == ["first", "second", "third"]


def test_what_was_called_off_does_not_happen() -> None:
    agenda, seen = Agenda(), []
    appointment = agenda.after(1.0, lambda: seen.append(1))
    appointment.cancel()
    agenda.run(2.0)
    assert seen == []


def test_what_is_put_down_meanwhile_happens_in_its_time() -> None:
    agenda, seen = Agenda(), []
    agenda.after(1.0, lambda: agenda.after(1.0, lambda: seen.append(agenda.elapsed)))
    agenda.run(1.5)
    assert seen == []
    agenda.run(3.0)
    assert seen == [2.0]
