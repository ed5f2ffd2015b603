"""Train a reader of handwritten digits on all workers together.

Data-parallel over gloo: each worker takes its share of every batch, gradients
are averaged, so all have the same weights at all times. Worker 0 writes metrics,
checkpoints and the model. docs/formats/training.md describes the contract.
"""

import csv
import hashlib
import io
import json
import os
import pathlib
import random
import struct
import sys
import time
from datetime import datetime, timezone

import numpy
import torch
import torch.distributed as dist
from torch import nn
from torch.nn.parallel import DistributedDataParallel
from torch.utils.data import DataLoader, TensorDataset
from torch.utils.data.distributed import DistributedSampler

import model
import picture

RANK = int(os.environ.get("RANK", "0"))
WORLD = int(os.environ.get("WORLD_SIZE", "1"))
CHECKPOINTS = pathlib.Path(os.environ.get("POLDER_CHECKPOINT_DIR", "checkpoints"))
OUTPUT = pathlib.Path(os.environ.get("POLDER_OUTPUT_DIR", "output"))
METRICS = pathlib.Path(os.environ.get("POLDER_METRICS_FILE", "metrics.jsonl"))
KEEP = 3  # checkpoints


def parameter(name, default):
    """The job's parameter, as the type of its default; exit with a sentence otherwise."""
    text = os.environ.get("POLDER_PARAM_" + name.upper())
    if text is None:
        return default
    try:
        value = type(default)(text)
    except ValueError:
        sys.exit(f"parameter {name}: {text!r} is not of type {type(default).__name__}")
    if value <= 0:
        sys.exit(f"parameter {name}: {text} must be above 0")
    return value


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
    part = path.with_name(path.name + ".part")
    with part.open("wb") as f:
        f.write(data)
        f.flush()
        os.fsync(f.fileno())
    part.rename(path)
    directory = os.open(path.parent, os.O_RDONLY)
    os.fsync(directory)
    os.close(directory)


def save(epoch, net, optimizer, schedule):
    """Write the checkpoint of an epoch, then its hash, and remove the oldest."""
    path = CHECKPOINTS / f"epoch-{epoch:05d}.pt"
    CHECKPOINTS.mkdir(parents=True, exist_ok=True)
    data = io.BytesIO()
    torch.save({"epoch": epoch, "net": net.state_dict(), "optimizer": optimizer.state_dict(), "schedule": schedule.state_dict()}, data)
    write(path, data.getvalue())
    write(path.with_name(path.name + ".sha256"), hashlib.sha256(data.getvalue()).hexdigest().encode())
    for old in sorted(CHECKPOINTS.glob("epoch-*.pt"))[:-KEEP]:
        old.unlink()
        old.with_name(old.name + ".sha256").unlink(missing_ok=True)


def latest():
    """The newest checkpoint whose hash is right, or None; worker 0 only."""
    for part in CHECKPOINTS.glob("*.part"):  # of a worker that was killed while it wrote
        part.unlink()
    for path in sorted(CHECKPOINTS.glob("epoch-*.pt"), reverse=True):
        digest = path.with_name(path.name + ".sha256")
        data = path.read_bytes()
        if digest.exists() and hashlib.sha256(data).hexdigest() == digest.read_text()[:64]:
            return data
        print(f"checkpoint {path.name} is corrupt; falling back to the one before", file=sys.stderr)
        tell("checkpoint_corrupt", file=path.name)
    return None


def resume(net, optimizer, schedule):
    """Load the checkpoint that worker 0 chose, the same on all; return its epoch."""
    chosen = [latest() if RANK == 0 else None]
    dist.broadcast_object_list(chosen)
    if chosen[0] is None:
        return 0
    state = torch.load(io.BytesIO(chosen[0]))
    net.load_state_dict(state["net"])
    optimizer.load_state_dict(state["optimizer"])
    schedule.load_state_dict(state["schedule"])
    print(f"worker {RANK}: resuming after epoch {state['epoch']}", flush=True)
    return state["epoch"]


def evaluate(net, images, digits):
    """Return the digits that the network reads, and the share it reads right."""
    net.eval()
    with torch.no_grad():
        read = net(model.tensor(images)).argmax(1).numpy()
    net.train()
    return read, float((read == digits).mean())


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


def export(net, images, digits, accuracy, read):
    """Write everything that makes the model into the output directory."""
    OUTPUT.mkdir(parents=True, exist_ok=True)
    matrix = numpy.zeros((10, 10), dtype=int)
    for was, seen in zip(digits, read):
        matrix[was, seen] += 1
    write(OUTPUT / "model.safetensors", safetensors(net.state_dict()))
    write(OUTPUT / "confusion.png", picture.matrix(matrix.tolist()))
    write(OUTPUT / "config.json", json.dumps({"architecture": "conv16-pool-conv32-fc64-fc10", "input": [1, 8, 8], "scale": 16, "classes": 10}).encode())
    write(OUTPUT / "model.json", json.dumps({
        "framework": "pytorch", "frameworkVersion": torch.__version__, "metrics": {"test_accuracy": round(accuracy, 6)},
    }).encode())
    with (OUTPUT / "heldout.csv").open("w", newline="") as f:
        rows = csv.writer(f)
        for image, digit in zip(images, digits):
            rows.writerow([int(digit)] + [int(p) for p in image.flatten()])
    write(OUTPUT / "README.md", f"""# Handwritten digits

Reads 8x8 grey images of handwritten digits. Trained on 80 % of the set
of its job; on the other {len(digits)} it is right in {accuracy:.4f} of
cases. `heldout.csv` holds those: the digit, then 64 pixels of 0 to 16.
""".encode())


def main():
    random.seed(model.SEED)
    numpy.random.seed(model.SEED)
    torch.manual_seed(model.SEED)
    torch.set_num_threads(1)
    epochs, batch, rate = parameter("epochs", 15), parameter("batch", 64), parameter("lr", 0.003)
    dist.init_process_group("gloo", rank=RANK, world_size=WORLD, init_method="env://" if "MASTER_ADDR" in os.environ else "tcp://127.0.0.1:29500")

    images, digits, held_images, held_digits = model.load()
    data = TensorDataset(model.tensor(images), torch.from_numpy(digits))
    share = DistributedSampler(data, num_replicas=WORLD, rank=RANK, seed=model.SEED)
    loader = DataLoader(data, batch_size=max(1, batch // WORLD), sampler=share)
    net = model.Net()
    optimizer = torch.optim.Adam(net.parameters(), lr=rate)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, epochs)

    done = resume(net, optimizer, schedule)
    tell("start", epochs=epochs, resumed_from=done, world_size=WORLD)
    together = DistributedDataParallel(net) if WORLD > 1 else net
    criterion = nn.CrossEntropyLoss()
    step = done * len(loader)
    for epoch in range(done + 1, epochs + 1):
        share.set_epoch(epoch)
        began, total = time.monotonic(), torch.zeros(2)
        for x, y in loader:
            optimizer.zero_grad()
            loss = criterion(together(x), y)
            loss.backward()
            optimizer.step()
            total += torch.tensor([loss.item() * len(y), len(y)])
            step += 1
        schedule.step()
        dist.all_reduce(total)
        seconds = time.monotonic() - began
        if RANK == 0:
            _, accuracy = evaluate(net, held_images, held_digits)
            mean = float(total[0] / total[1])
            save(epoch, net, optimizer, schedule)
            tell("epoch", epoch=epoch, epochs=epochs, step=step, loss=round(mean, 6),
                 metrics={"val_accuracy": round(accuracy, 6), "images_per_s": round(float(total[1]) / seconds, 1)})
            print(f"epoch {epoch}/{epochs}  loss {mean:.4f}  accuracy {accuracy:.4f}  {total[1] / seconds:.0f} images/s", flush=True)
        dist.barrier()
    if RANK == 0:
        read, accuracy = evaluate(net, held_images, held_digits)
        export(net, held_images, held_digits, accuracy, read)
        tell("end", metrics={"test_accuracy": round(accuracy, 6)})
        print(f"held-out accuracy {accuracy:.4f} on {len(held_digits)} images", flush=True)
    dist.barrier()
    dist.destroy_process_group()


if __name__ == "__main__":
    main()
