"""logits: a small student learns from a teacher's scores, with few labels or none.

Data: "answers", which the recipe answer wrote; "held", rows with labels to judge by,
which neither was shown; and, for labels, "data", the table that was answered. Without
held a part of the data is held back, and is told from the answers.
Parameters: temperature and alpha (the share of the teacher in the loss, the rest is
the labels'), labels (how many rows' labels may be seen: 0 none, -1 all), net, hidden,
channels, dropout, epochs, batch, lr, seed, hold.
"""

import json
import sys

import numpy
import torch
from torch import nn

import job
import judge
import net as nets
import table


def answers():
    """What the teacher said: rows, scores, the number of each row in the table or -1, and about it."""
    where = job.DATA / "answers"
    try:
        about = json.loads((where / "answers.json").read_text())
        with numpy.load(where / "answers.npz", allow_pickle=False) as z:
            rows, scores, index = z["rows"], z["scores"], z["index"]
    except (OSError, ValueError, KeyError) as e:
        sys.exit(f"answers: they cannot be read: {e}; distil again, and they are made anew")
    if not len(rows) or len(rows) != len(scores) or len(rows) != len(index) or not numpy.isfinite(scores).all():
        sys.exit("answers: they are not whole; distil again, and they are made anew")
    return torch.from_numpy(rows), torch.from_numpy(scores), index, about


def soft(scores, teacher, temperature):
    """How far the student's scores are from the teacher's, both softened."""
    return nn.functional.kl_div(nn.functional.log_softmax(scores / temperature, 1), nn.functional.softmax(teacher / temperature, 1),
                                reduction="batchmean") * temperature ** 2


def main():
    seed = job.begin()
    rows, scores, index, about = answers()
    temperature, alpha = job.parameter("temperature", 4.0, 0.1, 100.0), job.parameter("alpha", 1.0, 0.0, 1.0)
    labels = job.parameter("labels", 0, -1)
    data = table.read("data", rows.shape[1])
    if (job.DATA / "held").is_dir():
        held = table.read("held", rows.shape[1])
    elif data.labels is None:
        sys.exit("held: there is nothing to judge the student by: the data has no labels; give rows with labels as held")
    else:  # judge by rows that the student is not shown, nor anything made of rows
        keep, away = table.hold(data, job.parameter("hold", 0.2, 0.01, 0.9), seed)
        held, keep = data.part(away), numpy.isin(index, keep)
        rows, scores, index = rows[keep], scores[keep], index[keep]
    if held.labels is None:
        sys.exit("held: the rows to judge by have no labels; name their column in held.label")

    classify = about["task"] == "classification"
    known = numpy.full(len(rows), -1)
    if labels:
        if data.labels is None:
            sys.exit("parameter labels: the data has no labels; set it to 0 to learn from the teacher alone")
        if not classify:
            sys.exit("parameter labels: labels beside a teacher are for classification; set it to 0")
        number = {c: i for i, c in enumerate(about["labels"])}
        real = numpy.flatnonzero(index >= 0)
        seen = numpy.random.RandomState(seed % 2**32).permutation(real)[:None if labels < 0 else labels]
        known[seen] = [number.get(data.labels[index[i]], -1) for i in seen]
    known = torch.from_numpy(known)
    net = nets.Net(nets.wanted(rows.shape[1], scores.shape[1], "mlp", "32"))
    net.learn_scale(rows, None if classify else scores)
    wanted = scores if classify else (scores - net.target_mean) / net.target_scale

    def loss(i):
        out = net(rows[i])
        if not classify:
            return nn.functional.huber_loss(out, wanted[i])
        value, with_label = soft(out, wanted[i], temperature), known[i] >= 0
        if alpha == 1 or not with_label.any():
            return value
        return alpha * value + (1 - alpha) * nn.functional.cross_entropy(out[with_label], known[i][with_label])

    simple = [about["labels"][c] for c in scores.argmax(1)] if classify else scores[:, 0].numpy()
    job.say(f"{nets.parameters(net)} parameters, {len(rows)} answers and {int((known >= 0).sum())} labels to learn from, {len(held)} rows to judge by")
    job.fit(net, loss, len(rows), job.parameter("epochs", 60, 1, 100_000), job.parameter("batch", 64, 1), job.parameter("lr", 0.003, 1e-7, 10.0),
            lambda: judge.figures(net, about, held, simple, "val_"))
    found = {**judge.figures(net, about, held, simple, "test_"), "parameters": nets.parameters(net), "answers": len(rows), "labels": int((known >= 0).sum())}
    says = judge.verdict(about["task"], found)
    nets.publish(net, {k: about.get(k) for k in ("task", "features", "labels")}, found, f"""# A student of the recipe logits

It takes rows of {rows.shape[1]} numbers as they are in the table, and has {nets.parameters(net):,} parameters. It learned from
{len(rows)} answers of a teacher (temperature {temperature:g}) and {int((known >= 0).sum())} labels, and was judged on {len(held)} rows that it had not
seen. {says}
""", [] if (job.DATA / "held").is_dir() else [("held.csv", table.text(held))])
    job.say(says)
    job.end(**{k: round(v, 6) for k, v in found.items()})


if __name__ == "__main__":
    main()
