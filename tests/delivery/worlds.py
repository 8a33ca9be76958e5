"""Random fleets and titles, for properties."""

from random import Random

from hypothesis import strategies as st

from services.delivery.fleet import Fleet, Machine, Title


def small(draw: Random) -> tuple[Fleet, list[Title]]:
    """At most five lots an hour, in four hours: `exact` tries them all within a second."""
    lot = draw.choice((1, 1, 2))
    obligors = draw.randint(1, 3)
    machines = []
    for number in range(1, draw.randint(2, 4) + 1):
        start = draw.randint(0, 6)
        out = ((start, start + draw.randint(1, 2)),) if draw.random() < 0.3 else ()
        machines.append(Machine(number, 1 + number % obligors, lot * draw.randint(1, 2), out))
    return _sold(draw, lot, obligors, machines, hours=4, lots_max=4, costs=(100, 110, 120))


def large(draw: Random, *, exchanges: bool = True, outs: bool = True) -> tuple[Fleet, list[Title]]:
    """Dozens of lots, a dozen hours."""
    lot = draw.choice((1, 2, 8))
    obligors = draw.randint(1, 5)
    machines = []
    for number in range(1, draw.randint(2, 12) + 1):
        start = draw.randint(0, 12)
        out = ((start, start + draw.randint(1, 4)),) if outs and draw.random() < 0.3 else ()
        gpus = draw.randint(0, 4) * lot + draw.randint(0, lot - 1)
        machines.append(Machine(number, 1 + number % obligors, gpus, out))
    costs = (100, 105, 120) if exchanges else ()
    return _sold(draw, lot, obligors, machines, hours=12, lots_max=30, costs=costs)


def _sold(
    draw: Random, lot: int, obligors: int, machines: list[Machine], *, hours: int, lots_max: int, costs: tuple[int, ...]
) -> tuple[Fleet, list[Title]]:
    """What holders buy in a row, from one obligor or another; now and then more than there is. No costs: none is equal."""
    owned = {name: sum(one.gpus // lot for one in machines if one.obligor == name) for name in range(1, obligors + 1)}
    titles: list[Title] = []
    left = [lots_max] * hours
    for holder in range(11, 11 + draw.randint(1, 6)):
        first, obligor = draw.randrange(hours), draw.randint(1, obligors)
        wanted = draw.randint(1, 3)
        for hour in range(first, min(first + draw.randint(1, hours), hours)):
            if draw.random() < 0.3:
                obligor = draw.randint(1, obligors)
            sold = sum(title.qty for title in titles if title.hour == hour and title.obligor == obligor) // lot
            room = owned[obligor] - sold + (draw.random() < 0.1)
            lots = min(wanted, left[hour], room)
            if lots > 0:
                left[hour] -= lots
                number = len(titles) + 1
                cost = draw.choice(costs) if costs else 100 + number
                titles.append(Title(hour, number, obligor, holder, lots * lot, cost))
    cover = {
        (name, hour): draw.choice((5, 20, 1_000)) * lot
        for name in range(1, obligors + 1)
        for hour in range(hours)
        if costs and draw.random() < 0.3
    }
    return Fleet(lot, tuple(machines), cover), titles


seeds = st.integers(0, 2**32)
