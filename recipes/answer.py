"""answer: a teacher answers rows of a table, so that a student can learn from it.

Data: the source "teacher", a model that a recipe made, and "data". Labels of the data
are not read. What is answered besides the rows themselves is made of them, and is the
same for the same seed:
    made=mixup  between two rows, at random
    made=shift  pictures moved by one pixel up, down, left, right
    made=noise  with a tenth of each feature's spread added
Parameters: made (a list of these), times (rows made of each row, for each of them),
block (rows between checkpoints), seed, csv (1: probabilities or values as scores.csv, too).

Output: answers.npz with rows [n, features], scores [n, outputs] before softmax, or
values, and index [n], the row of the table or -1; answers.json says whose they are.
Answers that are there are kept: a job that is started again goes on after them.
"""

import hashlib
import io
import json
import math
import sys

import numpy
import torch

import job
import net as nets
import table


def shifted(rows, times, chance):
    side = math.isqrt(rows.shape[1])
    if side * side != rows.shape[1]:
        sys.exit(f"parameter made: shift needs square pictures, and rows have {rows.shape[1]} features")
    out = []
    for dy, dx in [(0, 1), (0, -1), (1, 0), (-1, 0)][:times]:
        moved = numpy.zeros((len(rows), side, side), numpy.float32)
        pictures = rows.reshape(-1, side, side)
        moved[:, max(dy, 0):side + min(dy, 0), max(dx, 0):side + min(dx, 0)] = \
            pictures[:, max(-dy, 0):side + min(-dy, 0), max(-dx, 0):side + min(-dx, 0)]
        out.append(moved.reshape(len(rows), -1))
    return numpy.concatenate(out)


def mixed(rows, times, chance):
    a, b = chance.randint(len(rows), size=(2, times * len(rows)))
    part = chance.uniform(0, 0.5, (len(a), 1)).astype(numpy.float32)
    return rows[a] * (1 - part) + rows[b] * part


def noisy(rows, times, chance):
    return numpy.concatenate([rows + 0.1 * rows.std(0) * chance.standard_normal(rows.shape).astype(numpy.float32) for _ in range(times)])


MAKERS = {"shift": shifted, "mixup": mixed, "noise": noisy}


def questions(rows, seed):
    """The rows of the table and those made of them, and which row each is."""
    chance = numpy.random.RandomState(seed % 2**32)
    times = job.parameter("times", 4, 1, 100)
    all_rows = [rows]
    for name in filter(None, job.parameter("made", "").split(",")):
        if name not in MAKERS:
            sys.exit(f"parameter made: {name!r} is not known; there are {', '.join(MAKERS)}")
        all_rows.append(MAKERS[name](rows, times, chance))
    out = numpy.concatenate(all_rows)
    index = numpy.full(len(out), -1, numpy.int64)
    index[:len(rows)] = numpy.arange(len(rows))
    return numpy.ascontiguousarray(out, numpy.float32), index


def packed(**arrays):
    data = io.BytesIO()
    numpy.savez_compressed(data, **arrays)
    return data.getvalue()


def kept(asked, digest):
    """Answers that an earlier worker left, of these same questions."""
    found = job.latest(".npz")
    if found is None:
        return numpy.empty((0, 0), numpy.float32)
    try:
        with numpy.load(io.BytesIO(found[1]), allow_pickle=False) as z:
            scores, of = z["scores"], str(z["digest"])
    except (ValueError, KeyError, OSError) as e:
        sys.exit(f"the answers that were kept cannot be read: {e}; remove them from the cache")
    if of != digest or len(scores) > len(asked):
        job.say("the answers that were kept are of other questions, and are passed over")
        return numpy.empty((0, 0), numpy.float32)
    return scores


def main():
    seed = job.begin()
    teacher, about = nets.from_model(job.DATA / "teacher", "teacher")
    data = table.read("data", teacher.config["features"])
    asked, index = questions(data.rows, seed)
    digest = hashlib.sha256(asked.tobytes() + (job.DATA / "teacher" / "model.safetensors").read_bytes()).hexdigest()
    scores = kept(asked, digest)
    was, block = len(scores), job.parameter("block", 20_000, 1)
    blocks = -(-len(asked) // block)
    tell = "classification" == about["task"]
    job.tell("start", epochs=blocks, resumed_from=-(-was // block), world_size=1)
    while len(scores) < len(asked):
        with torch.no_grad():
            rows = torch.from_numpy(asked[len(scores):len(scores) + block])
            new = (teacher(rows) if tell else teacher.values(rows)).numpy()
        if not numpy.isfinite(new).all():
            sys.exit("the teacher's answers are not finite numbers; look for rows far from what it was trained on")
        scores = new if len(scores) == 0 else numpy.concatenate([scores, new])
        done = -(-len(scores) // block)
        job.save(done, packed(scores=scores, digest=numpy.array(digest)), ".npz")
        job.tell("epoch", epoch=done, epochs=blocks, step=len(scores), metrics={"answers": len(scores)})
    job.write(job.OUTPUT / "answers.npz", packed(rows=asked, scores=scores, index=index))
    if job.parameter("csv", 0):
        shown = torch.softmax(torch.from_numpy(scores), 1).numpy() if tell else scores
        job.write(job.OUTPUT / "scores.csv", "".join(",".join(f"{v:.7g}" for v in row) + "\n" for row in shown).encode())
    job.write(job.OUTPUT / "answers.json", json.dumps({
        "form": 1, "task": about["task"], "labels": about.get("labels"), "features": about.get("features"),
        "rows": len(data), "made": len(asked) - len(data), "digest": digest, "teacher": about,
    }, indent=1).encode())
    job.say(f"{len(asked)} answers to {len(data)} rows and {len(asked) - len(data)} made of them; {was} were there already")
    job.end(answers=len(asked), answers_kept=was, rows=len(data))


if __name__ == "__main__":
    main()
