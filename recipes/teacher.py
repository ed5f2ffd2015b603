"""teacher: learn to classify, or to tell numbers, from a table with labels.

Data: the source "data"; rows to judge by in "held", or a part of data is held back.
Parameters: task (classification, regression, forecast), net (mlp, conv), hidden,
channels, dropout, epochs, batch, lr, seed, labels (how many rows' labels are used: -1
all), hold (the part held back), controls, and of each source file, label, slices, from, to.
"""

import sys

import torch
from torch import nn

import job
import judge
import net as nets
import table


def choose(data, part, labels, seed):
    """Rows to learn from and rows to judge by, as two Tables: those that the job gives,
    or a part of its data; and of the first as many as labels may be seen."""
    if (job.DATA / "held").is_dir():
        learn, held = data, table.read("held", data.rows.shape[1])
        if held.labels is None:
            sys.exit("held: the rows to judge by have no labels; name their column in held.label")
    else:
        keep, away = table.hold(data, part, seed)
        learn, held = data.part(keep), data.part(away)
    if 0 <= labels < len(learn):
        if labels == 0:
            sys.exit("parameter labels: 0 leaves nothing to learn from; the recipe logits learns from a teacher instead")
        order = torch.randperm(len(learn), generator=torch.Generator().manual_seed(seed)).tolist()
        learn = learn.part(order[:labels])
    return learn, held


def target_of(task, learn):
    """What is learned: targets as a tensor, the loss of scores, and the labels or None."""
    if task == "classification":
        labels = table.classes(learn.labels)
        number = {c: i for i, c in enumerate(labels)}
        return torch.tensor([number[s] for s in learn.labels]), nn.functional.cross_entropy, labels
    return torch.from_numpy(table.targets(learn.labels))[:, None], nn.functional.huber_loss, None


def main():
    seed = job.begin()
    task = job.parameter("task", "classification")
    if task not in ("classification", "regression", "forecast"):
        sys.exit(f"parameter task: {task!r} is not known; there are classification, regression and forecast")
    data = table.read("data")
    if data.labels is None:
        sys.exit("data: the table has no labels to learn from")
    learn, held = choose(data, job.parameter("hold", 0.2, 0.01, 0.9), job.parameter("labels", -1, -1), seed)
    target, loss, labels = target_of(task, learn)
    rows = torch.from_numpy(learn.rows)
    net = nets.Net(nets.wanted(rows.shape[1], len(labels) if labels else 1, "mlp", "64,64"))
    if labels:
        net.learn_scale(rows)
    else:
        net.learn_scale(rows, target)
        target = (target - net.target_mean) / net.target_scale
    about = {"task": task, "features": learn.names, "labels": labels}
    known = learn.labels if labels else table.targets(learn.labels)
    job.say(f"{nets.parameters(net)} parameters, {len(learn)} rows to learn from, {len(held)} to judge by")
    job.fit(net, lambda i: loss(net(rows[i]), target[i]), len(learn), job.parameter("epochs", 30, 1, 100_000),
            job.parameter("batch", 64, 1), job.parameter("lr", 0.001, 1e-7, 10.0), lambda: judge.figures(net, about, held, known, "val_"))
    found = {**judge.figures(net, about, held, known, "test_"), "parameters": nets.parameters(net), "rows": len(learn)}
    says = judge.verdict(task, found)
    nets.publish(net, about, found, f"""# A model of the recipe teacher

It takes rows of {rows.shape[1]} numbers as they are in the table, and has {nets.parameters(net):,} parameters.
It learned from {len(learn)} rows with labels, and was judged on {len(held)} others. {says}
""", [] if (job.DATA / "held").is_dir() else [("held.csv", table.text(held))])
    job.say(says)
    job.end(**{k: round(v, 6) for k, v in found.items()})


if __name__ == "__main__":
    main()
