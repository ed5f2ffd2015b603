"""How good a network is on rows that it has not learned from, beside the simplest ways
to answer. A model that is no better than these is of no use, and is told so."""

import numpy
import torch

import job
import table


def figures(net, about, held, learned, prefix=""):
    """Figures on held, a Table with labels; learned are the labels or values learned from."""
    rows = torch.from_numpy(held.rows)
    with torch.no_grad():
        if about["task"] == "classification":
            number = {c: i for i, c in enumerate(about["labels"])}
            right = numpy.array([number.get(s, -1) for s in held.labels])
            scores = net(rows).numpy()
            out = {"accuracy": (scores.argmax(1) == right).mean()}
            counts = numpy.bincount([number[s] for s in learned if s in number] or right[right >= 0], minlength=len(number))
            out["majority_accuracy"] = (right == counts.argmax()).mean()
            if len(number) == 2 and 0 < (right == 1).sum() < len(right):
                out["auc"] = auc(scores[:, 1] - scores[:, 0], right == 1)
                out["auc_low"] = out["auc"] - 1.645 * chance(right == 1)
        else:
            right = table.targets(held.labels)
            wrong = net.values(rows).numpy()[:, 0] - right
            out = {"mae": numpy.abs(wrong).mean(), "rmse": numpy.sqrt((wrong ** 2).mean())}
            out["mean_mae"] = numpy.abs(right - numpy.mean(learned)).mean()
            for name, values in controls(held):
                out[f"{name}_mae"] = numpy.abs(values - right).mean()
    return {prefix + k: float(v) for k, v in out.items()}


def controls(held):
    """Columns that are forecasts by themselves, such as the last value: parameter controls,
    as NAME=COLUMN,NAME=COLUMN."""
    for pair in filter(None, job.parameter("controls", "").split(",")):
        name, _, wanted = pair.partition("=")
        yield name, held.rows[:, table.column("controls", wanted or name, held.names, held.rows.shape[1])]


def auc(scores, positive):
    """The area under the ROC curve: how often a positive scores above a negative."""
    order = numpy.argsort(scores, kind="stable")
    ranks = numpy.empty(len(scores))
    ordered = scores[order]
    at = 0
    while at < len(ordered):  # equal scores share their mean rank
        to = numpy.searchsorted(ordered, ordered[at], side="right")
        ranks[order[at:to]] = (at + to + 1) / 2
        at = to
    n, p = len(scores), int(positive.sum())
    return (ranks[positive].sum() - p * (p + 1) / 2) / (p * (n - p))


def chance(positive):
    """The standard error of the AUC of scores that tell nothing: half of these are above 0.5."""
    n, p = len(positive), int(positive.sum())
    return ((n + 1) / (12 * p * (n - p))) ** 0.5


def verdict(task, found, prefix="test_"):
    """A sentence: does the network beat the simplest ways to answer?"""
    if prefix + "reward" in found:
        mine, simple = found[prefix + "reward"], found[prefix + "constant_reward"]
        if mine <= simple:
            return f"It did not learn: its actions are rewarded by {mine:.4f} on average, and always the same one by {simple:.4f}."
        return f"Its actions are rewarded by {mine:.4f} on average; always the same one by {simple:.4f}."
    if task == "classification":
        mine, simple = found[prefix + "accuracy"], found[prefix + "majority_accuracy"]
        if mine <= simple and found.get(prefix + "auc_low", 0) <= 0.5:
            return f"It did not learn: it is right in {mine:.4f} of cases, and always giving the commonest label is in {simple:.4f}."
        if mine <= simple:
            return (f"Its ranking is of use (AUC {found[prefix + 'auc']:.4f}), its answers are not: they are right in {mine:.4f} of cases, "
                    f"and always giving the commonest label is in {simple:.4f}. Choose a threshold by what mistakes cost.")
        return f"It is right in {mine:.4f} of cases; always giving the commonest label is in {simple:.4f}."
    mine = found[prefix + "mae"]
    simple = {k: v for k, v in found.items() if k.endswith("_mae") and k != prefix + "mae"}
    best = min(simple, key=simple.get)
    name = best.removeprefix(prefix).removesuffix("_mae")
    if mine >= simple[best]:
        return f"A simple control wins: {name} is wrong by {simple[best]:.4f} on average, this model by {mine:.4f}. Use the control."
    return f"It is wrong by {mine:.4f} on average; the best simple control, {name}, by {simple[best]:.4f}."
