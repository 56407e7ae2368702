"""Population based training: exploit and explore, as a pure function of the intervals so far."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from random import Random
from typing import TYPE_CHECKING

from sm_tuning.strategies._simple import Seen, draw_new
from sm_tuning.strategies._space import Categorical, Dimension, Integer, Space
from sm_tuning.strategies._strategy import MEMBER, NeverStops, Proposal, Trial, entropy

if TYPE_CHECKING:
    from sm_tuning.spec import PopulationConfig


class Population(NeverStops):
    """Population based training [Jaderberg et al., arXiv:1711.09846], asynchronous, with the defaults of Ray Tune.

    A trial is one interval of one member. When it has ended, the member's next interval starts: from its own
    checkpoint, or, if its objective is in the worst quarter of the members', from that of a member of the best quarter
    that has trained at least as long, with changed hyperparameters. A member whose interval failed copies the best that
    is not done; it starts anew while no member has an objective, and is given up once all others are done.

    Args:
        space: the search space.
        seed: of the tuning.
        maximize: whether a higher objective is better.
        config: size, interval, and how members copy.
    """

    def __init__(self, space: Space, config: PopulationConfig, *, seed: int, maximize: bool) -> None:
        self._space = space
        self._config = config
        self._seed = seed
        self._sign = -1.0 if maximize else 1.0
        self._seen = Seen(space)

    @property
    def most_trials(self) -> int:
        """The intervals of all members, if none fails."""
        return self._config.size * math.ceil(self._config.max_resource / self._config.interval)

    def ask(self, trials: Sequence[Trial]) -> Mapping[str, str] | None:
        """Return the hyperparameters of the next interval, ``resource`` included."""
        found = self.propose(trials)
        return None if found is None else found.hyperparameters

    def propose(self, trials: Sequence[Trial]) -> Proposal | None:
        """Return a new member until there are ``size``, then the next interval of a member whose last one has ended.

        None if all members train or are done.
        """
        members: dict[int, list[Trial]] = defaultdict(list)
        for trial in trials:
            members[int(trial.attrs.get(MEMBER, trial.index))].append(trial)
        if len(members) < self._config.size:
            return self._new(len(members) + 1, 0, trials)
        waiting = [member for member, own in members.items() if own[-1].finished]
        scored = self._scored(members)
        count = min(math.ceil(len(scored) * self._config.quantile), len(scored) // 2)
        best, worst = scored[:count], scored[len(scored) - count :]
        for member in sorted(waiting, key=lambda member: members[member][-1].index):
            last = members[member][-1]
            target, has_failed = self._reached(last), last.value is None
            if has_failed or (target is not None and last in worst):
                # Copying skips ahead, never back, so that all members need no more than ``most_trials``.
                least = 1 if has_failed else target or 1
                going = [trial for trial in scored if (self._reached(trial) or 0) >= least]
                sources = [trial for trial in going if trial in best] or (going[:1] if has_failed else [])
                if sources:
                    return self._exploit(member, len(members[member]), sources)
                if has_failed and not scored:
                    return self._new(member, len(members[member]), trials)
            if target is not None and not has_failed:
                tuned = {**last.hyperparameters, self._config.resource: str(target)}
                return Proposal(tuned, parent=last.index, why="continued", attrs={MEMBER: member})
        return None

    def explore(self, tuned: Mapping[str, str], random: Random) -> dict[str, str]:
        """Return changed hyperparameters, each within its range, without inactive ones."""
        changed = {}
        for dimension in self._space.dimensions:
            value = tuned.get(dimension.name)
            if value is not None and self._config.mutate is not None and dimension.name not in self._config.mutate:
                changed[dimension.name] = value
            elif value is None or random.random() < self._config.resample_probability:
                changed[dimension.name] = dimension.draw(random)
            else:
                changed[dimension.name] = _perturbed(dimension, value, random, self._config.factors)
        return {name: value for name, value in changed.items() if self._space.is_active(name, changed)}

    def _new(self, member: int, step: int, trials: Sequence[Trial]) -> Proposal:
        point = draw_new(self._space, self._seen.of(trials), self._seed, step * self._config.size + member - 1)
        tuned = {
            **self._space.answer(point),
            self._config.resource: str(min(self._config.interval, self._config.max_resource)),
        }
        return Proposal(tuned, attrs={MEMBER: member})

    def _exploit(self, member: int, step: int, sources: Sequence[Trial]) -> Proposal:
        # The member and its step decide, not the order in which others end.
        random = Random(entropy(self._seed, step, f"explore/{member}"))  # noqa: S311 - a search, no secret
        source = random.choice(sources)
        tuned = {**self.explore(source.hyperparameters, random), self._config.resource: str(self._reached(source))}
        return Proposal(tuned, parent=source.index, why="exploited", attrs={MEMBER: member})

    def _reached(self, trial: Trial) -> int | None:
        """Return the resource up to which the next interval after a trial trains; None if the trial was the last."""
        done = int(trial.hyperparameters[self._config.resource])
        return (
            None if done >= self._config.max_resource else min(done + self._config.interval, self._config.max_resource)
        )

    def _scored(self, members: Mapping[int, Sequence[Trial]]) -> list[Trial]:
        """Return the last trial with an objective of each member, the best first."""
        valued = [[trial for trial in own if trial.finished and trial.value is not None] for own in members.values()]
        return sorted((own[-1] for own in valued if own), key=lambda trial: (self._cost(trial), trial.index))

    def _cost(self, trial: Trial) -> float:
        value = math.nan if trial.value is None else trial.value
        return math.inf if math.isnan(value) else self._sign * value


def _perturbed(dimension: Dimension, value: str, random: Random, factors: Sequence[float]) -> str:
    """Return a value near another one, within the range."""
    if isinstance(dimension, Categorical):
        # Without an order there is no neighbour: such a choice changes only when it is drawn anew.
        if value not in dimension.values or not all(map(_is_number, dimension.values)):
            return value if value in dimension.values else dimension.draw(random)
        place = dimension.values.index(value) + random.choice((-1, 1))
        return dimension.values[min(max(place, 0), len(dimension.values) - 1)]
    factor, number = random.choice(tuple(factors)), float(value)
    # On the reverse logarithmic scale the distance from 1 matters: 0.99 becomes 0.992 or 0.988, not 0.792.
    scaled = 1.0 - (1.0 - number) * factor if dimension.scaling == "ReverseLogarithmic" else number * factor
    scaled = min(max(scaled, dimension.low), dimension.high)
    return str(round(scaled)) if isinstance(dimension, Integer) else repr(scaled)


def _is_number(text: str) -> bool:
    try:
        float(text.strip('"'))
    except ValueError:
        return False
    return True
