"""What is known of a test set beside its scores, remembered by its content: what made the LR that it brings."""

from collections.abc import Sequence
from dataclasses import replace

from srkit.data.maker import MAKERS, Made, looked_at, made_by, set_made_by, unlike_training
from srkit.evaluate.plan import Cell, ScoredSet
from srkit.evaluate.store import Store

OWN = Made(MAKERS[0].kernel, (MAKERS[0].name,))  # what makes LR where a set brings none: MATLAB's, see srkit.imresize


def with_maker(store: Store, tested: ScoredSet) -> ScoredSet:
    """The set with what made its LR; of a few pictures, so that it takes a second at most, once."""
    if tested.pairs is None or not tested.hr:
        return tested
    fact = ["LR maker", tested.dataset, tested.content, tested.scale]
    known = store.recall(fact) if tested.content else None
    if not isinstance(known, dict):
        found = []
        for index in looked_at(len(tested.pairs)):
            try:
                pair = tested.pairs[index]
                if pair.lr is None:
                    break  # it is made, of all pictures
                found.append(made_by(pair.lr, pair.hr, tested.scale))
            except Exception:  # scoring will say what is wrong with this picture
                continue
        made = set_made_by(found).made if found else OWN
        known = {"kernel": made.kernel, "makers": made.makers, "drifts": made.drifts, "given": bool(found)}
        store.remember(fact, known)
    made = Made(known["kernel"], tuple(known["makers"]), known["drifts"])
    return replace(tested, made=made, given=known["given"])


def told(tested: Sequence[ScoredSet], cells: Sequence[Cell]) -> list[str]:
    """A line for each set that brings its LR, and for each model that was trained on LR of another kind."""
    lines = [f"{one.name} x{one.scale}: its LR was made by {one.made.name}" for one in tested if one.given and one.made]
    unlike = [
        (cell.subject.info.name, cell.tested, unlike_training(cell.subject.info.training_lr, cell.tested.made))
        for cell in cells
        if cell.tested.made
    ]
    return lines + [f"{name} x{one.scale} on {one.name}: {why}" for name, one, why in unlike if why]
