"""reinforce: a policy learns which action to take for a row, from rewards alone.

For each row a group of actions is drawn from the policy; those that are rewarded above
the group's mean become likelier, the others less so. No label is shown to the policy.

Data: "data", a table; "held", rows to judge by, or a part of data is held back; "from",
optionally, a model of a recipe that the policy begins as. Who rewards is a program: the
parameter reward names a file beside the table with a function
    reward(row, label, action) -> number
of the row's numbers, the text of its label (None without labels: a table has none if it
has as many columns as "from" takes) and the text of the action. Without it an action is
worth 1 if it is the label.
Parameters: reward, actions (a list; else the labels there are), group, entropy (how much
it is worth to stay curious), net, hidden, channels, epochs, batch, lr, hold, seed.
"""

import importlib.util
import math
import sys

import torch

import job
import judge
import net as nets
import table


def program():
    """The function that rewards."""
    name = job.parameter("reward", "label")
    if name == "label":
        return lambda row, label, action: float(label == action)
    path = table.find("data").parent / name
    if not path.is_file() or path.suffix != ".py":
        sys.exit(f"parameter reward: there is no program {name} beside the table")
    spec = importlib.util.spec_from_file_location("reward_program", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    if not callable(getattr(module, "reward", None)):
        sys.exit(f"{name}: it has no function reward(row, label, action)")
    return module.reward


def rewards(reward, data, index, chosen, actions):
    """What the chosen actions are worth: [rows, group]."""
    out = []
    for i, group in zip(index, chosen.tolist()):
        row, label = data.rows[i].tolist(), data.labels[i] if data.labels else None
        values = [float(reward(row, label, actions[a])) for a in group]
        if not all(map(math.isfinite, values)):
            sys.exit(f"the reward program gave {values} for row {i}; rewards must be finite numbers")
        out.append(values)
    return torch.tensor(out)


def worth(reward, data, chosen, actions):
    return float(rewards(reward, data, range(len(data)), torch.as_tensor(chosen)[:, None], actions).mean())


def figures(net, about, reward, held, prefix):
    with torch.no_grad():
        best = net(torch.from_numpy(held.rows)).argmax(1)
    out = {"reward": worth(reward, held, best, about["labels"])}
    out["constant_reward"] = max(worth(reward, held, [a] * len(held), about["labels"]) for a in range(len(about["labels"])))
    if held.labels and set(held.labels) <= set(about["labels"]):
        out["accuracy"] = sum(about["labels"][a] == s for a, s in zip(best.tolist(), held.labels)) / len(held)
    return {prefix + k: v for k, v in out.items()}


def main():
    seed = job.begin()
    net, about = nets.from_model(job.DATA / "from", "from") if (job.DATA / "from").is_dir() else (None, None)
    data, reward = table.read("data", net.config["features"] if net else None), program()
    listed = [a for a in job.parameter("actions", "").split(",") if a]
    if len(listed) == 1 or not (listed or net or data.labels):
        sys.exit("parameter actions: name two at least, such as yes,no; without it they are the labels, and the data has none")
    if (job.DATA / "held").is_dir():
        learn, held = data, table.read("held", data.rows.shape[1])
    else:
        keep, away = table.hold(data, job.parameter("hold", 0.2, 0.01, 0.9), seed)
        learn, held = data.part(keep), data.part(away)
    if net:
        if not about.get("labels") or net.config["net"] == "text":
            sys.exit("from: the policy must be a model that classifies rows")
        if listed and listed != about["labels"]:
            sys.exit(f"parameter actions: the policy that it begins as chooses among {','.join(about['labels'][:20])}; leave actions out, or from")
    else:
        about = {"task": "classification", "features": learn.names, "labels": listed or table.classes(learn.labels)}
        net = nets.Net(nets.wanted(learn.rows.shape[1], len(about["labels"]), "mlp", "32"))
        net.learn_scale(torch.from_numpy(learn.rows))
    rows, actions = torch.from_numpy(learn.rows), about["labels"]
    group, curious = job.parameter("group", 8, 2, 1024), job.parameter("entropy", 0.01, 0.0, 10.0)

    def loss(i):
        policy = torch.distributions.Categorical(logits=net(rows[i]))
        chosen = policy.sample((group,)).T
        got = rewards(reward, learn, i.tolist(), chosen, actions)
        better = got - got.mean(1, keepdim=True)
        better = better / (got.std(1, keepdim=True, unbiased=False) + 1e-4)
        return -(better * policy.log_prob(chosen.T).T).mean() - curious * policy.entropy().mean()

    job.say(f"{nets.parameters(net)} parameters, {len(actions)} actions, {len(learn)} rows to try them on, {len(held)} to judge by")
    before = figures(net, about, reward, held, "before_")
    job.fit(net, loss, len(learn), job.parameter("epochs", 40, 1, 100_000), job.parameter("batch", 64, 1), job.parameter("lr", 0.003, 1e-7, 10.0),
            lambda: figures(net, about, reward, held, "val_"))
    found = {**figures(net, about, reward, held, "test_"), **before, "parameters": nets.parameters(net), "rows": len(learn)}
    says = judge.verdict("classification", found) + f" Before it learned, they were rewarded by {before['before_reward']:.4f}."
    nets.publish(net, about, found, f"""# A policy of the recipe reinforce

It takes rows of {rows.shape[1]} numbers and answers how likely each of {len(actions)} actions is. It has {nets.parameters(net):,} parameters, and learned
from rewards for {len(learn)} rows, without labels. It was judged on {len(held)} others. {says}
""", [("held.csv", table.text(held))] if held.labels and not (job.DATA / "held").is_dir() else [])
    job.say(says)
    job.end(**{k: round(v, 6) for k, v in found.items()})


if __name__ == "__main__":
    main()
