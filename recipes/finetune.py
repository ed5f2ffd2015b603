"""finetune: all weights of a model go on learning, from labels of other rows.

Data: "from", a model that a recipe made; "data", a table with the same features and
with labels; rows to judge by in "held", or a part of data is held back. Labels that the
model does not know give it a new last layer.
Parameters: epochs, batch, lr (small, since the model knows already), labels (how many
rows' labels are used: -1 all), hold, seed. The task is the model's.
"""

import sys

import torch
from torch import nn

import job
import judge
import net as nets
import table
import teacher


def begun(data):
    """The model to begin from, and what is known of it."""
    net, about = nets.from_model(job.DATA / "from", "from")
    if about["task"] == "generation" or net.config["net"] == "text":
        sys.exit("from: a model of text goes on learning by the recipe sequence, not by this one")
    if about.get("features") and data.names and about["features"] != data.names:
        other = [f"{a} / {b}" for a, b in zip(about["features"], data.names) if a != b]
        sys.exit(f"data: its columns are not those that the model takes: {', '.join(other[:5])}; put them into the model's order")
    return net, about


def fit_to(net, about, learn):
    """Targets and loss for the labels, with a new last layer where these are others."""
    target, loss, labels = teacher.target_of(about["task"], learn)
    if labels is None:
        return (target - net.target_mean) / net.target_scale, loss, about
    known = about["labels"]
    if set(labels) <= set(known):  # the same, or fewer
        number = {c: i for i, c in enumerate(known)}
        return torch.tensor([number[s] for s in learn.labels]), loss, about
    last = net.layers[-1]
    net.layers[-1] = nn.Linear(last.in_features, len(labels))
    net.config = {**net.config, "outputs": len(labels)}
    net.target_mean, net.target_scale = torch.zeros(len(labels)), torch.ones(len(labels))
    job.say(f"the labels are others than the model's {len(known)}: it gets a new last layer for {len(labels)}")
    return target, loss, {**about, "labels": labels}


def main(adapt=None, recipe="finetune"):
    """adapt, if given, changes the network before it learns, and returns what undoes it."""
    seed = job.begin()
    data = table.read("data")
    if data.labels is None:
        sys.exit("data: the table has no labels to learn from")
    net, about = begun(data)
    if data.rows.shape[1] != net.config["features"]:
        sys.exit(f"data: it has {data.rows.shape[1]} features, the model takes {net.config['features']}")
    learn, held = teacher.choose(data, job.parameter("hold", 0.2, 0.01, 0.9), job.parameter("labels", -1, -1), seed)
    known = learn.labels if about["task"] == "classification" else table.targets(learn.labels)
    was = judge.figures(net, about, held, known, "before_")
    target, loss, about = fit_to(net, about, learn)
    undo = adapt(net) if adapt else lambda: None
    learning = sum(p.numel() for p in net.parameters() if p.requires_grad)
    rows = torch.from_numpy(learn.rows)
    job.say(f"{learning} of {nets.parameters(net)} parameters learn, from {len(learn)} rows; {len(held)} to judge by")
    job.fit(net, lambda i: loss(net(rows[i]), target[i]), len(learn), job.parameter("epochs", 20, 1, 100_000),
            job.parameter("batch", 64, 1), job.parameter("lr", 0.0003, 1e-7, 10.0), lambda: judge.figures(net, about, held, known, "val_"))
    undo()
    found = {**judge.figures(net, about, held, known, "test_"), **was, "parameters": nets.parameters(net), "parameters_learned": learning, "rows": len(learn)}
    says = judge.verdict(about["task"], found)
    name = "accuracy" if about["task"] == "classification" else "mae"
    says += f" Before, on the same rows, its {name} was {was['before_' + name]:.4f}."
    nets.publish(net, about, found, f"""# A model of the recipe {recipe}

It began as another model, and {learning:,} of its parameters learned from {len(learn)} rows with labels. It was judged on
{len(held)} others. {says}
""", [] if (job.DATA / "held").is_dir() else [("held.csv", table.text(held))])
    job.say(says)
    job.end(**{k: round(v, 6) for k, v in found.items()})


if __name__ == "__main__":
    main()
