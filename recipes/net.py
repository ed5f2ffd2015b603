"""Networks over rows of a table, and how they are kept so that anybody can run them.

A model directory has model.onnx, which takes rows as they are in the table (scaling is
part of the graph), model.json, which says what they mean, and config.json with
model.safetensors, from which from_model() makes the network again.
"""

import io
import json
import math
import sys

import torch
from torch import nn

import job


class Net(nn.Module):
    """Rows [n, features] to scores [n, outputs]: of classes, or of numbers.

    config: net is mlp or conv, features and outputs are counts, hidden the widths in
    between. conv reads a row as a square picture and has channels besides.
    """

    def __init__(self, config):
        super().__init__()
        self.config = config
        features, outputs, hidden = config["features"], config["outputs"], config["hidden"]
        self.register_buffer("mean", torch.zeros(features))
        self.register_buffer("scale", torch.ones(features))
        self.register_buffer("target_mean", torch.zeros(outputs))
        self.register_buffer("target_scale", torch.ones(outputs))
        layers, width = [], features
        if config["net"] == "conv":
            side = math.isqrt(features)
            if side * side != features or side % 2:
                sys.exit(f"net conv: {features} features are no square picture with even sides; use mlp")
            one, two = config["channels"]
            self.shape = (-1, 1, side, side)
            self.pictures = nn.Sequential(
                nn.Conv2d(1, one, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(one, two, 3, padding=1), nn.ReLU(), nn.Flatten())
            width = two * (side // 2) ** 2
        elif config["net"] == "mlp":
            self.shape = (-1, features)
            self.pictures = nn.Identity()
        else:
            sys.exit(f"net {config['net']!r} is not known; there are mlp and conv")
        for w in hidden:
            layers += [nn.Linear(width, w), nn.ReLU(), nn.Dropout(config.get("dropout", 0.0))]
            width = w
        self.layers = nn.Sequential(*layers, nn.Linear(width, outputs))

    def forward(self, rows):
        return self.layers(self.pictures(((rows - self.mean) / self.scale).reshape(self.shape)))

    def learn_scale(self, rows, values=None):
        """Take scaling from the rows to learn from, and of their values, if they are numbers."""
        if self.config["net"] == "conv":  # all pixels alike
            self.scale[:] = max(float(rows.abs().max()), 1e-6)
        else:
            self.mean[:], self.scale[:] = center(rows)
        if values is not None:
            self.target_mean[:], self.target_scale[:] = center(values)

    def values(self, rows):
        """What the network says as numbers of the table."""
        return self(rows) * self.target_scale + self.target_mean


class Text(nn.Module):
    """The codes of the last characters [n, context] to scores of the next one [n, vocabulary].

    One block of attention, looked at from the last character. config: vocabulary is the
    code points of the characters, context and width are counts. Codes are numbers of
    rows of a table, so a text model is served and judged as any other.
    """

    def __init__(self, config):
        super().__init__()
        self.config = {**config, "features": config["context"], "outputs": len(config["vocabulary"])}
        context, width, size = config["context"], config["width"], len(config["vocabulary"])
        self.embed = nn.Embedding(size + 1, width)  # the last is any other character, and none
        self.place = nn.Parameter(0.02 * torch.randn(context, width))
        self.ask, self.key, self.value = (nn.Linear(width, width) for _ in range(3))
        self.layers = nn.Sequential(nn.Linear(width, 4 * width), nn.ReLU(), nn.Linear(4 * width, width))
        self.norm, self.end, self.score = nn.LayerNorm(width), nn.LayerNorm(width), nn.Linear(width, size)

    def forward(self, rows):
        seen = self.embed(rows.long()) + self.place
        last = seen[:, -1]
        weight = torch.softmax((self.key(seen) * self.ask(last).unsqueeze(1)).sum(2) / seen.shape[2] ** 0.5, 1)
        state = self.norm(last + (weight.unsqueeze(2) * self.value(seen)).sum(1))
        return self.score(self.end(state + self.layers(state)))

    def codes(self, text):
        """The row of what has been written so far."""
        number = {c: i for i, c in enumerate(self.config["vocabulary"])}
        none = len(number)
        tail = [number.get(ord(c), none) for c in text[-self.config["context"]:]]
        return [none] * (self.config["context"] - len(tail)) + tail


def make(config):
    return Text(config) if config["net"] == "text" else Net(config)


def center(rows):
    spread = rows.std(0, unbiased=False)
    return rows.mean(0), torch.where(spread > 1e-6, spread, torch.ones_like(spread))


class Served(nn.Module):
    """What model.onnx holds."""

    def __init__(self, net, task):
        super().__init__()
        self.net, self.task = net, task

    def forward(self, rows):
        if self.task == "classification":
            return torch.softmax(self.net(rows), 1)
        values = self.net.values(rows)
        return values[:, 0] if self.net.config["outputs"] == 1 else values


def parameters(net):
    return sum(p.numel() for p in net.parameters())


def wanted(features, outputs, net, hidden, channels="32,64", dropout=0.0):
    """The configuration that the job's parameters ask for."""
    def widths(name, text):
        try:
            out = [int(w) for w in text.split(",") if w.strip()]
        except ValueError:
            out = [0]
        if any(not 1 <= w <= 65536 for w in out):
            sys.exit(f"parameter {name}: {text!r} is not a list of widths such as 32,32")
        return out
    config = {"net": job.parameter("net", net), "features": features, "outputs": outputs,
              "hidden": widths("hidden", job.parameter("hidden", hidden)), "dropout": job.parameter("dropout", dropout, 0, 0.9)}
    if config["net"] == "conv":
        config["channels"] = widths("channels", job.parameter("channels", channels))
        if len(config["channels"]) != 2:
            sys.exit("parameter channels: give two, such as 32,64")
    return config


def from_model(where, what):
    """The network that lies in a model directory, and what is said of it."""
    if not (where / "config.json").is_file() or not (where / "model.safetensors").is_file():
        there = ", ".join(sorted(p.name for p in where.iterdir())) if where.is_dir() else "nothing"
        sys.exit(f"{what}: it must hold config.json and model.safetensors as the recipes write them, there is {there}; a model of another kind can be asked through an endpoint")
    try:
        about = json.loads((where / "config.json").read_text())
        net = make(about["net"])
    except (ValueError, KeyError, TypeError) as e:
        sys.exit(f"{what}: config.json is not one of a recipe: {e!r}")
    have, want = job.tensors(where / "model.safetensors"), net.state_dict()
    for name in want:
        if name not in have or have[name].shape != want[name].shape:
            sys.exit(f"{what}: the weights do not fit config.json: {name} is {list(have[name].shape) if name in have else 'missing'}, must be {list(want[name].shape)}")
    if not all(torch.isfinite(t).all() for t in have.values()):
        sys.exit(f"{what}: there are weights that are not finite numbers; train it again")
    net.load_state_dict({k: have[k] for k in want})
    net.eval()
    return net, about


def onnx(module, features, output):
    data = io.BytesIO()
    torch.onnx.export(module, torch.zeros(2, features), data, opset_version=13, input_names=["rows"], output_names=[output],
                      dynamic_axes={"rows": {0: "n"}, output: {0: "n"}})
    return data.getvalue()


def publish(net, about, metrics, readme, files=()):
    """Write the model into the output directory; worker 0 only.

    about: task, names of the features or None, labels or None. Weights first, so that a
    reader sees a description only of what is there.
    """
    if job.RANK != 0:
        return
    metrics = {k: round(float(v), 6) for k, v in metrics.items()}
    net.eval()
    output = "probabilities" if about["task"] == "classification" else "values"
    job.write(job.OUTPUT / "model.safetensors", job.safetensors(net.state_dict()))
    job.write(job.OUTPUT / "model.onnx", onnx(Served(net, about["task"]), net.config["features"], output))
    job.write(job.OUTPUT / "config.json", json.dumps({"net": net.config, **about}, indent=1).encode())
    serving = {"task": about["task"]}
    if about.get("features"):
        serving["features"] = about["features"]
    if about.get("labels"):
        serving["labels"] = about["labels"]
    job.write(job.OUTPUT / "model.json", json.dumps({
        "framework": "pytorch", "frameworkVersion": torch.__version__, "metrics": metrics, "serving": serving,
    }, indent=1).encode())
    for name, data in files:
        job.write(job.OUTPUT / name, data)
    job.write(job.OUTPUT / "README.md", readme.encode())
