"""Is a window a surge: what is usual at that hour, and the chance of what came. Pure functions."""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from services.sentiment.domain import Counts, Reason, Verdict
from services.sentiment.windows import DAY, HOUR

LEAST = 0.2  # expected negatives of a window are never taken below this: a week of zeros proves little
FEWEST_ITEMS = 30  # a series with fewer items in its history is still learning
# Hours that the next coarser level counts as, when a finer one has its own: a cell of the week seen
# twice is believed half, one seen eight times four fifths.
PRIOR_HOURS = 2.0
WIDEST = 10.0  # a bound on how much more than Poisson the hours may vary


@dataclass(frozen=True)
class Rules:
    """When a window is a surge; times in seconds. See the settings for what each one means."""

    step: int = 900
    window: int = 3_600
    floor: int = 4
    p_count: float = 1e-4
    p_share: float = 0.01
    p_calm: float = 0.05
    hold: int = 2
    recover: int = 8
    cooldown: int = 6 * HOUR
    longest: int = 7 * DAY
    learning_days: int = 7
    history_days: int = 56


@dataclass(frozen=True)
class Usual:
    """What is usual for one series: negatives an hour by hour of the week, and how sure that is.

    `rates[h]` is for hour h of the week (0 is Monday 00:00 UTC), `hours[h]` the hours of evidence
    behind it; `spread` is the variance of an hour's negatives over their mean (1 is Poisson).
    """

    rates: tuple[float, ...]
    hours: tuple[float, ...]
    spread: float
    share: float


def hour_of_week(seconds: int) -> int:
    """Return the hour of the week, 0 to 167 from Monday 00:00 UTC (1 January 1970 was a Thursday)."""
    return (seconds // HOUR + 3 * 24) % 168


def observed_days(hours: Iterable[int], before: int, limit: int) -> list[int]:
    """Return the starts of the newest `limit` days that have items and end by `before`, oldest first.

    `hours` are starts of hours with any item at all. Days without one are holes in the stream.
    """
    days = sorted({hour // DAY * DAY for hour in hours if hour // DAY * DAY + DAY <= before})
    return days[-limit:]


def usual(
    hourly: Mapping[int, Counts], days: Sequence[int], excluded: Sequence[tuple[int, int]], rules: Rules
) -> Usual | None:
    """Return what is usual after these observed days, or None while that is too little to say.

    `hourly` has the counts of each hour by its start; a missing hour of an observed day is a zero.
    Hours that touch an `excluded` span are left out. Each hour of the week leans on the same hour
    of all weekdays (or weekend days), that on the whole day type, that on everything.
    """
    if len(days) < rules.learning_days:
        return None
    nothing = Counts()
    cells = [
        (hour_of_week(hour), hourly.get(hour, nothing))
        for day in days
        for hour in range(day, day + DAY, HOUR)
        if not any(start < hour + HOUR and hour < end for start, end in excluded)
    ]
    items = sum(counts.count for _, counts in cells)
    if items < FEWEST_ITEMS:
        return None
    negatives = sum(counts.negative for _, counts in cells)
    rates, hours = _rates([(hour, counts.negative) for hour, counts in cells])
    share = (negatives + 1) / (items + 3)
    return Usual(rates, hours, _spread(cells, rates), share)


def _rates(cells: Sequence[tuple[int, int]]) -> tuple[tuple[float, ...], tuple[float, ...]]:
    whole = (sum(n for _, n in cells) + 0.5) / (len(cells) + 1.0)
    sums: dict[tuple[int, ...], list[float]] = {}
    for hour, negative in cells:
        for key in _levels(hour):
            found = sums.setdefault(key, [0.0, 0.0])
            found[0] += negative
            found[1] += 1.0
    rates, evidence = [], []
    for hour in range(168):
        rate, seen = whole, 0.0
        for key in _levels(hour):
            got, seen = sums.get(key, (0.0, 0.0))
            rate = (PRIOR_HOURS * rate + got) / (PRIOR_HOURS + seen)
        rates.append(rate)
        evidence.append(PRIOR_HOURS + seen)
    return tuple(rates), tuple(evidence)


def _levels(hour: int) -> tuple[tuple[int, ...], ...]:
    """Return the cells that an hour of the week belongs to, coarse to fine."""
    weekend = int(hour // 24 >= 5)
    return (weekend,), (weekend, hour % 24), (weekend, hour % 24, hour // 24)


def _spread(cells: Sequence[tuple[int, Counts]], rates: Sequence[float]) -> float:
    """Return the variance over the mean of an hour's negatives, from 1 (Poisson) to `WIDEST`."""
    expected = sum(rates[hour] for hour, _ in cells)
    squares = sum((counts.negative - rates[hour]) ** 2 for hour, counts in cells)
    return min(WIDEST, max(1.0, squares / expected)) if expected > 0 else 1.0


def judge(counts: Counts, end: int, known: Usual | None, rules: Rules) -> Verdict:
    """Return what the window [end - rules.window, end) with these counts says, given what is usual."""
    if known is None:
        return Verdict(Reason.LEARNING, counts)
    expected, variance = _forecast(end, known, rules)
    p_count = count_tail(counts.negative, expected, variance)
    p_share = share_tail(counts.negative, counts.count, known.share)
    if counts.negative < rules.floor:
        reason = Reason.TOO_FEW
    elif p_count >= rules.p_count:
        reason = Reason.USUAL_COUNT
    elif p_share >= rules.p_share:
        reason = Reason.USUAL_SHARE
    else:
        reason = Reason.SURGE
    calm = counts.negative < rules.floor or p_count > rules.p_calm
    return Verdict(reason, counts, expected, known.share, p_count, p_share, calm)


def _forecast(end: int, known: Usual, rules: Rules) -> tuple[float, float]:
    """Return mean and variance of the negatives in the window that ends at `end`."""
    part = rules.step / HOUR
    hours = [hour_of_week(start) for start in range(end - rules.window, end, rules.step)]
    mean = max(LEAST, sum(known.rates[hour] for hour in hours) * part)
    evidence = sum(known.hours[hour] for hour in hours) / len(hours)
    # Chance around the rate, and the rate itself known from so many hours only: a thin history is wide.
    return mean, mean * (known.spread + rules.window / HOUR / evidence)


def count_tail(k: int, mean: float, variance: float) -> float:
    """Return P(K >= k) of a negative binomial with this mean and variance (Poisson when they are equal)."""
    if k <= 0:
        return 1.0
    extra = variance - mean
    if extra < 1e-9 * mean:
        term = math.exp(k * math.log(mean) - mean - math.lgamma(k + 1))
        return _sum_up(term, k, lambda n: mean / (n + 1))
    shape, odds = mean * mean / extra, mean / variance
    log_term = math.lgamma(k + shape) - math.lgamma(shape) - math.lgamma(k + 1)
    term = math.exp(log_term + shape * math.log(odds) + k * math.log1p(-odds))
    return _sum_up(term, k, lambda n: (n + shape) / (n + 1) * (1 - odds))


def share_tail(k: int, n: int, share: float) -> float:
    """Return P(K >= k) of a binomial: k of n at `share` (between 0 and 1, exclusive)."""
    if k <= 0:
        return 1.0
    log_term = math.lgamma(n + 1) - math.lgamma(k + 1) - math.lgamma(n - k + 1)
    term = math.exp(log_term + k * math.log(share) + (n - k) * math.log1p(-share))
    return _sum_up(term, k, lambda i: (n - i) / (i + 1) * share / (1 - share))


def _sum_up(term: float, k: int, ratio: Callable[[int], float]) -> float:
    """Return the sum of a tail from its first term on; summed upwards, small tails keep their digits."""
    total, n = 0.0, k
    while term > 0.0 and (term > total * 1e-12 or ratio(n) > 1.0):
        total += term
        term *= ratio(n)
        n += 1
    return min(1.0, total)
