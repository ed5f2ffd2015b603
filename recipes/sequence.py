"""sequence: a small model learns to write from text that a teacher wrote.

What the teacher wrote is filtered first: answers that are empty, too short or too long,
that hold what the parameter refuse matches, or that are there already but for case,
spaces, digits and punctuation, are dropped and counted. A part of the rest is held back;
no text of it is learned from.

Data: "answers", which the recipe ask wrote; or, without a teacher, "data": a table with
the columns prompt and answer.
Parameters: context (characters that are seen), width, epochs, batch, lr, shortest and
longest (characters of an answer), refuse (a regular expression), hold, seed, steps
(characters that are learned from in an epoch at most).
"""

import json
import re
import sys
import unicodedata

import numpy
import torch
from torch import nn

import job
import judge
import net as nets
import table

BEGIN, MIDDLE, END = "\x02", "\x03", "\x04"  # of a prompt, between it and its answer, of that


def pairs():
    """What was written: prompts and answers."""
    path = job.DATA / "answers" / "answers.ndjson"
    try:
        if path.is_file():
            return [(str(a["prompt"]), str(a["answer"])) for a in map(json.loads, path.open(encoding="utf-8"))]
        cells, names = table.lines(table.find("data"))
        at = [table.column("data", n, names, len(cells[0]) if cells else 0) for n in ("prompt", "answer")]
        return [(r[at[0]], r[at[1]]) for r in cells]
    except (ValueError, KeyError, TypeError) as e:
        sys.exit(f"answers: they cannot be read: {e!r}; distil again, and they are made anew")


def plain(text):
    """text without what makes no difference: case, spaces, digits, punctuation."""
    text = unicodedata.normalize("NFKC", text).casefold()
    text = re.sub(r"\d+", "0", text)
    return " ".join(re.sub(r"[^\w\s]", " ", text).split())


def sound(found):
    """The pairs to learn from, and how many were dropped, by why."""
    shortest, longest = job.parameter("shortest", 1, 0), job.parameter("longest", 4000, 1)
    try:
        refuse = re.compile(job.parameter("refuse", ""))
    except re.error as e:
        sys.exit(f"parameter refuse: it is no regular expression: {e}")
    out, seen, dropped = [], set(), {"empty": 0, "length": 0, "refused": 0, "double": 0}
    for prompt, answer in found:
        answer = "".join(c for c in answer.strip() if c.isprintable() or c in "\n\t")
        key = plain(prompt), plain(answer) or answer
        if not answer:
            dropped["empty"] += 1
        elif not shortest <= len(answer) <= longest:
            dropped["length"] += 1
        elif refuse.pattern and refuse.search(answer):
            dropped["refused"] += 1
        elif key in seen:
            dropped["double"] += 1
        else:
            seen.add(key)
            out.append((prompt.strip(), answer))
    return out, dropped


def windows(net, written):
    """Each character of the answers with what comes before it: codes, and which it is."""
    number = {c: i for i, c in enumerate(net.config["vocabulary"])}
    rows, following = [], []
    for prompt, answer in written:
        text = BEGIN + prompt + MIDDLE + answer + END
        for at in range(len(prompt) + 2, len(text)):
            if ord(text[at]) in number:
                rows.append(net.codes(text[:at]))
                following.append(number[ord(text[at])])
    return numpy.array(rows, numpy.float32).reshape(-1, net.config["context"]), following


def main():
    seed = job.begin()
    written, dropped = sound(pairs())
    lost = sum(dropped.values())
    job.say(f"{len(written)} answers to learn from; dropped: " + ", ".join(f"{n} {why}" for why, n in dropped.items()))
    if len(written) < 10:
        sys.exit(f"{len(written)} answers are too few to learn to write from; give more prompts or samples, or drop fewer")
    order = numpy.random.RandomState(seed % 2**32).permutation(len(written))
    count = max(1, round(len(written) * job.parameter("hold", 0.1, 0.01, 0.9)))
    away = [written[i] for i in order[:count]]
    asked = {plain(p) for p, _ in away}
    learn = [written[i] for i in order[count:] if plain(written[i][0]) not in asked]  # no other answer to the same prompt either
    if not learn:
        sys.exit("all answers are to the prompts that are held back; give more prompts")
    letters = sorted({ord(c) for p, a in learn for c in BEGIN + p + MIDDLE + a + END})
    net = nets.Text({"net": "text", "vocabulary": letters, "context": job.parameter("context", 32, 2, 4096), "width": job.parameter("width", 48, 4, 4096)})
    rows, following = windows(net, learn)
    held_rows, held_following = windows(net, away)
    labels = [f"u{c:04x}" for c in letters]
    held = table.Table(held_rows, [labels[i] for i in held_following], [f"c{i}" for i in range(net.config["context"])])
    about = {"task": "classification", "labels": labels, "features": held.names, "begin": BEGIN, "middle": MIDDLE, "end": END}
    known, target, rows = [labels[i] for i in following], torch.tensor(following), torch.from_numpy(rows)
    job.say(f"{nets.parameters(net)} parameters, {len(rows)} characters to learn from, {len(held)} to judge by")
    steps = min(len(rows), job.parameter("steps", 200_000, 1))

    def loss(i):
        i = i if steps == len(rows) else torch.randint(len(rows), i.shape)
        return nn.functional.cross_entropy(net(rows[i]), target[i])

    job.fit(net, loss, steps, job.parameter("epochs", 10, 1, 100_000), job.parameter("batch", 256, 1), job.parameter("lr", 0.002, 1e-7, 10.0),
            lambda: judge.figures(net, about, held, known, "val_"))
    found = {**judge.figures(net, about, held, known, "test_"), "parameters": nets.parameters(net), "answers": len(written), "dropped": lost}
    says = judge.verdict("classification", found)
    nets.publish(net, about, found, f"""# A writer of the recipe sequence

It says which character follows the last {net.config['context']}, and has {nets.parameters(net):,} parameters. It learned from {len(learn)} answers of a teacher, of which
{lost} more were dropped ({', '.join(f'{n} {why}' for why, n in dropped.items())}), and was judged on the characters of {len(away)} others. {says}
Columns are code points by their place in the list vocabulary of config.json; labels are code points, as u0061.
""", [("held.csv", table.text(held))])
    job.say(says)
    job.end(**{k: round(v, 6) for k, v in found.items()})


if __name__ == "__main__":
    main()
