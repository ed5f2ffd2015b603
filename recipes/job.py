"""What a recipe finds and leaves as a job: parameters, metrics, checkpoints, output.

docs/formats/training.md is the contract; this file keeps it for all recipes, so that
each of them is about learning alone. Needed are numpy and torch.
"""

import hashlib
import io
import json
import math
import os
import pathlib
import random
import struct
import sys
from datetime import datetime, timezone

import numpy
import torch
import torch.distributed as dist

RANK = int(os.environ.get("RANK", "0"))
WORLD = int(os.environ.get("WORLD_SIZE", "1"))
DATA = pathlib.Path(os.environ.get("POLDER_DATA_DIR", "data"))
CHECKPOINTS = pathlib.Path(os.environ.get("POLDER_CHECKPOINT_DIR", "checkpoints"))
OUTPUT = pathlib.Path(os.environ.get("POLDER_OUTPUT_DIR", "output"))
METRICS = pathlib.Path(os.environ.get("POLDER_METRICS_FILE", "metrics.jsonl"))
KEEP = 3  # checkpoints


def parameter(name, default, least=None, most=None):
    """The job's parameter, as the type of its default; a sentence and the end otherwise."""
    text = os.environ.get("POLDER_PARAM_" + name.upper())
    if text is None or text == "" and not isinstance(default, str):
        return default
    try:
        value = type(default)(text)
    except ValueError:
        sys.exit(f"parameter {name}: {text!r} is not of type {type(default).__name__}")
    if isinstance(value, float) and not math.isfinite(value):
        sys.exit(f"parameter {name}: {text} is not a finite number")
    if least is not None and value < least:
        sys.exit(f"parameter {name}: {text} must be at least {least}")
    if most is not None and value > most:
        sys.exit(f"parameter {name}: {text} must be at most {most}")
    return value


def begin():
    """Join the other workers and fix what is drawn by chance; return the seed."""
    seed = parameter("seed", 1, 0)
    random.seed(seed)
    numpy.random.seed(seed % 2**32)
    torch.manual_seed(seed)
    torch.set_num_threads(max(1, int(os.environ.get("OMP_NUM_THREADS", "1"))))
    if WORLD > 1:
        dist.init_process_group("gloo", rank=RANK, world_size=WORLD, init_method="env://")
    return seed


def end(**metrics):
    """Tell the final figures and leave the other workers."""
    tell("end", metrics=metrics)
    if WORLD > 1:
        dist.barrier()
        dist.destroy_process_group()


def say(text):
    if RANK == 0:
        print(text, flush=True)


def tell(event, **fields):
    """Append one line to the metrics file; worker 0 only."""
    if RANK != 0:
        return
    line = {"time": datetime.now(timezone.utc).isoformat(timespec="milliseconds"), "event": event, **fields}
    METRICS.parent.mkdir(parents=True, exist_ok=True)
    with METRICS.open("a") as f:
        f.write(json.dumps(line) + "\n")
        f.flush()
        os.fsync(f.fileno())


def write(path, data):
    """Replace path so that a reader or a crash sees the old bytes or the new."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(path.name + ".part")
    with part.open("wb") as f:
        f.write(data)
        f.flush()
        os.fsync(f.fileno())
    part.rename(path)
    directory = os.open(path.parent, os.O_RDONLY)
    os.fsync(directory)
    os.close(directory)


def save(epoch, data, suffix=".pt"):
    """Write the checkpoint of an epoch, then its hash, and remove the oldest."""
    path = CHECKPOINTS / f"epoch-{epoch:05d}{suffix}"
    write(path, data)
    write(path.with_name(path.name + ".sha256"), hashlib.sha256(data).hexdigest().encode())
    for old in sorted(CHECKPOINTS.glob("epoch-*" + suffix))[:-KEEP]:
        old.unlink()
        old.with_name(old.name + ".sha256").unlink(missing_ok=True)


def latest(suffix=".pt"):
    """The newest checkpoint whose hash is right, as epoch and bytes, or None."""
    for part in CHECKPOINTS.glob("*.part"):  # of a worker that was killed while it wrote
        part.unlink()
    for path in sorted(CHECKPOINTS.glob("epoch-*" + suffix), reverse=True):
        digest = path.with_name(path.name + ".sha256")
        data = path.read_bytes()
        if digest.exists() and hashlib.sha256(data).hexdigest() == digest.read_text()[:64]:
            return int(path.name[6:11]), data
        print(f"checkpoint {path.name} is corrupt; falling back to the one before", file=sys.stderr)
        tell("checkpoint_corrupt", file=path.name)
    return None


def resume(net, optimizer, schedule):
    """Load the checkpoint that worker 0 chose, the same on all; return its epoch."""
    chosen = [latest() if RANK == 0 else None]
    if WORLD > 1:
        dist.broadcast_object_list(chosen)
    if chosen[0] is None:
        return 0
    epoch, data = chosen[0]
    state = torch.load(io.BytesIO(data))
    net.load_state_dict(state["net"])
    optimizer.load_state_dict(state["optimizer"])
    schedule.load_state_dict(state["schedule"])
    say(f"resuming after epoch {epoch}")
    return epoch


def fit(net, loss, count, epochs, batch, rate, judge):
    """Let net learn: count rows, of which loss(rows) is told the numbers of some.

    Every epoch draws its own order from the seed and its number, so a run that was
    broken off goes on as if it had not been. judge() gives the figures of an epoch.
    Workers take turns in each batch and average their gradients.
    """
    weights = [p for p in net.parameters() if p.requires_grad]
    optimizer = torch.optim.Adam(weights, rate)
    batch = min(batch, count)
    steps = -(-count // batch)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 3 * rate, total_steps=epochs * steps)
    done = resume(net, optimizer, schedule)
    tell("start", epochs=epochs, resumed_from=done, world_size=WORLD)
    seed = parameter("seed", 1, 0)
    for epoch in range(done + 1, epochs + 1):
        net.train()
        torch.manual_seed(seed * 1_000_003 + epoch)
        order, total = torch.randperm(count), 0.0
        for at in range(0, count, batch):
            rows = order[at:at + batch]
            mine = rows[RANK::WORLD]
            optimizer.zero_grad()
            # A worker without a row in the last batch still takes part in the sum.
            value = loss(mine) if len(mine) else 0.0 * sum(p.sum() for p in weights)
            part = len(mine) / len(rows)
            (value * part).backward()
            share = torch.tensor([value.item() * part])
            if WORLD > 1:
                for p in weights:
                    dist.all_reduce(p.grad)
                dist.all_reduce(share)
            optimizer.step()
            schedule.step()
            total += share.item() * len(rows)
        mean = total / count
        if not math.isfinite(mean):
            sys.exit(f"epoch {epoch}: the loss is {mean}; lower the parameter lr ({rate}), or look for numbers without bounds in the data")
        net.eval()
        figures = {k: round(float(v), 6) for k, v in judge().items()}
        if RANK == 0:
            state = io.BytesIO()
            torch.save({"net": net.state_dict(), "optimizer": optimizer.state_dict(), "schedule": schedule.state_dict()}, state)
            save(epoch, state.getvalue())
        tell("epoch", epoch=epoch, epochs=epochs, step=epoch * steps, loss=round(mean, 6), metrics=figures)
        if epoch % max(1, epochs // 20) == 0 or epoch == epochs:
            say(f"epoch {epoch}/{epochs}  loss {mean:.4f}  " + "  ".join(f"{k} {v:.4f}" for k, v in figures.items()))
    net.eval()


def safetensors(tensors):
    """Weights in the safetensors format: header length, JSON header, raw floats."""
    header, blobs, at = {}, [], 0
    for name, value in tensors.items():
        blob = value.detach().numpy().astype("<f4").tobytes()
        header[name] = {"dtype": "F32", "shape": list(value.shape), "data_offsets": [at, at + len(blob)]}
        blobs.append(blob)
        at += len(blob)
    head = json.dumps(header).encode()
    head += b" " * (-len(head) % 8)
    return struct.pack("<Q", len(head)) + head + b"".join(blobs)


def tensors(path):
    """What safetensors wrote, by name. A file that is not whole ends the job."""
    data = path.read_bytes()
    try:
        (size,) = struct.unpack_from("<Q", data)
        header = json.loads(data[8:8 + size])
        body, out = data[8 + size:], {}
        for name, about in header.items():
            if name == "__metadata__":
                continue
            begins, ends = about["data_offsets"]
            if about["dtype"] != "F32" or not 0 <= begins <= ends <= len(body):
                raise ValueError(f"tensor {name} is {about['dtype']} at {begins} to {ends} of {len(body)} bytes; F32 within the file is read")
            out[name] = torch.from_numpy(numpy.frombuffer(body[begins:ends], "<f4").reshape(about["shape"]).copy())
        return out
    except (ValueError, KeyError, TypeError, AttributeError, struct.error) as e:
        sys.exit(f"{path}: it is not a whole file of weights: {e}")
