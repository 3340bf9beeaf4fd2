"""Finds a cheap assignment: expansion moves, each the best of its kind by a minimum cut.

From what there is, one move offers every op a second layout, all of them consistent with one op in
one layout, and takes the cheapest mixture (Boykov, Veksler, Zabih, "Fast Approximate Energy
Minimization via Graph Cuts", section 5). Moves are made until none helps. With two layouts in play
the first move is the optimum.
"""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Iterable
from dataclasses import dataclass, field

import networkx
from networkx.algorithms.flow import boykov_kolmogorov
from xdsl.ir import Operation, OpResult, SSAValue

from aicc.ir.op import GraphOp
from aicc.ir.types import rank_of
from aicc.passes.layouts.problem import Problem
from aicc.passes.layouts.rules import Permutation, allows, channels_last, identity, layout_rank

ROUNDS = 8

Labels = dict[Operation, Permutation]


def solved(problem: Problem) -> Labels:
    """An assignment that costs no more than doing nothing."""
    best = problem.nothing()
    cost = problem.cost(best)
    every = list(offers(problem))
    for _ in range(ROUNDS):
        before = cost
        for offer in every:
            tried = expanded(problem, best, offer)
            found = problem.cost(tried)
            if found < cost:
                best, cost = tried, found
        if cost >= before:
            break
    return best


def offers(problem: Problem) -> Iterable[Labels]:
    """For each region and each layout that starts in it, what all ops of the region get."""
    covered: set[tuple[Operation, Permutation]] = set()
    for op, layout in seeds(problem):
        if (op, layout) not in covered:
            offer = spread(problem, op, layout)
            covered.update(offer.items())
            yield offer


def seeds(problem: Problem) -> Iterable[tuple[GraphOp, Permutation]]:
    """Layouts that some op has a reason for: it prefers channels last, or something is turned."""
    for op in problem.ops:
        rank = layout_rank(op)
        last = channels_last(rank)
        if problem.own_cost(op, last) != problem.own_cost(op, identity(rank)) and allows(op, last):
            yield op, last
    for value, uses in problem.uses.items():
        own = identity(rank_of(value))
        for use in uses:
            if use.turned == own:
                continue
            if (label := problem.label_for(use, own)) is not None:
                assert isinstance(use.user, GraphOp)
                yield use.user, label
            if is_first(value) and value.owner in problem.chosen:
                assert isinstance(value.owner, GraphOp)
                if allows(value.owner, use.turned) and len(own) == layout_rank(value.owner):
                    yield value.owner, use.turned


def spread(problem: Problem, op: GraphOp, layout: Permutation) -> Labels:
    """One op's layout taken on to all that it can be taken to without a conversion."""
    made: Labels = {op: layout}
    pending = deque([op])
    while pending:
        current = pending.popleft()
        label = made[current]
        given = problem.produced(current.results[0], made)
        for use in problem.uses.get(current.results[0], ()):
            found = problem.label_for(use, given)
            if found is not None and use.user not in made:
                assert isinstance(use.user, GraphOp)
                made[use.user] = found
                pending.append(use.user)
        for value, use in problem.reads(current):
            owner = value.owner
            if not is_first(value) or owner in made or owner not in problem.chosen:
                continue
            assert isinstance(owner, GraphOp)
            wanted = problem.wanted(use, label)
            if len(wanted) == layout_rank(owner) and allows(owner, wanted):
                made[owner] = wanted
                pending.append(owner)
    return made


def is_first(value: SSAValue) -> bool:
    return isinstance(value, OpResult) and value.index == 0


KEEP, TAKE = "keep", "take"


def expanded(problem: Problem, current: Labels, offer: Labels) -> Labels:
    """The cheapest assignment in which each op keeps its layout or takes the one on offer."""
    offer = {op: layout for op, layout in offer.items() if current[op] != layout}
    cut = Cut()
    values: dict[SSAValue, None] = {}
    for op, layout in offer.items():
        assert isinstance(op, GraphOp)
        cut.choice(op, problem.own_cost(op, current[op]), problem.own_cost(op, layout))
        values[op.results[0]] = None
        values.update((v, None) for v, _ in problem.reads(op))
    for value in values:
        if value in problem.uses:
            conversions(problem, value, current, offer, cut)
    taken = cut.taken()
    return {op: offer[op] if op in taken else layout for op, layout in current.items()}


@dataclass
class Readers:
    """Who reads a value in one layout: keeping what they have, taking the offer, or anyhow."""

    keep: list[Operation] = field(default_factory=list)
    take: list[Operation] = field(default_factory=list)
    anyhow: bool = False


def conversions(
    problem: Problem, value: SSAValue, current: Labels, offer: Labels, cut: Cut
) -> None:
    """The conversions of one value, each paid once however many ops read it."""
    maker = value.owner if is_first(value) and value.owner in offer else None
    assert maker is None or isinstance(maker, Operation)
    kept, new = problem.produced(value, current), problem.produced(value, {**current, **offer})
    readers: dict[Permutation, Readers] = defaultdict(Readers)
    for use in problem.uses[value]:
        now = readers[problem.wanted(use, current.get(use.user))]
        if use.user in offer:
            now.keep.append(use.user)
            readers[problem.wanted(use, offer[use.user])].take.append(use.user)
        else:
            now.anyhow = True
    for layout, who in readers.items():
        spared = [choice for choice, made in ((KEEP, kept), (TAKE, new)) if made == layout]
        if maker is None or len(spared) != 1:
            if not spared:
                cut.converted(who, problem.weights[value])
        elif spared == [KEEP]:
            cut.converted_if_taken(who, problem.weights[value], maker)
        else:
            cut.converted_if_kept(who, problem.weights[value], maker)


class Cut:
    """A minimum cut: ops on the source's side keep what they have, the others take the offer."""

    def __init__(self) -> None:
        self.network = networkx.DiGraph()
        self.network.add_nodes_from((KEEP, TAKE))
        self.terms = 0

    def edge(self, a: object, b: object, capacity: float | None) -> None:
        """What is paid if `a` keeps and `b` takes; None: that never happens."""
        if capacity is None:
            self.network.add_edge(a, b)
            return
        known = self.network.get_edge_data(a, b)
        if known is None:
            self.network.add_edge(a, b, capacity=capacity)
        elif "capacity" in known:
            known["capacity"] += capacity

    def term(self) -> tuple[str, int]:
        self.terms += 1
        return "term", self.terms

    def choice(self, op: Operation, keep: float, take: float) -> None:
        least = min(keep, take)
        self.edge(op, TAKE, keep - least)
        self.edge(KEEP, op, take - least)

    def keeping(self, ops: list[Operation]) -> object:
        """A node that keeps where any of the ops does."""
        term = self.term()
        for op in ops:
            self.edge(op, term, None)
        return term

    def taking(self, ops: list[Operation]) -> object:
        """A node that takes where any of the ops does."""
        term = self.term()
        for op in ops:
            self.edge(term, op, None)
        return term

    def converted(self, who: Readers, weight: float) -> None:
        """Paid where anyone reads: nobody makes the value so."""
        if who.anyhow:
            return  # in any case
        if who.keep:
            self.edge(self.keeping(who.keep), TAKE, weight)
        if who.take:
            self.edge(KEEP, self.taking(who.take), weight)

    def converted_if_taken(self, who: Readers, weight: float, maker: Operation) -> None:
        """Paid where anyone reads what the maker makes only if it keeps its layout."""
        if who.anyhow:
            self.edge(KEEP, maker, weight)
        elif who.keep:
            self.edge(self.keeping(who.keep), maker, weight)

    def converted_if_kept(self, who: Readers, weight: float, maker: Operation) -> None:
        """Paid where anyone reads what the maker makes only if it takes the offer."""
        if who.anyhow:
            self.edge(maker, TAKE, weight)
        elif who.take:
            self.edge(maker, self.taking(who.take), weight)

    def taken(self) -> set[Operation]:
        _, (_, taken) = networkx.minimum_cut(self.network, KEEP, TAKE, flow_func=boykov_kolmogorov)
        return {n for n in taken if isinstance(n, Operation)}
