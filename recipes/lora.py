"""lora: a model goes on learning in few numbers: low-rank adapters beside its weights.

Each linear layer gets a product of two thin matrices added, and only these learn; at
the end they are added into the weights, so the model is as large and fast as before.
Data and parameters are those of the recipe finetune; rank is the adapters' width, and
scale how much they count.
"""

import torch
from torch import nn

import finetune
import job


class Adapted(nn.Module):
    """A linear layer that stays as it is, and a low-rank one beside it that learns."""

    def __init__(self, linear, rank, scale):
        super().__init__()
        self.linear, self.scale = linear, scale / rank
        self.down = nn.Parameter(torch.randn(rank, linear.in_features) / linear.in_features ** 0.5)
        self.up = nn.Parameter(torch.zeros(linear.out_features, rank))  # nothing is added at first

    def forward(self, x):
        return self.linear(x) + self.scale * (x @ self.down.T) @ self.up.T

    def merged(self):
        with torch.no_grad():
            self.linear.weight += self.scale * self.up @ self.down
        return self.linear


def adapt(net):
    """Freeze net, put adapters beside its linear layers, and return what merges them."""
    rank, scale = job.parameter("rank", 4, 1, 1024), job.parameter("scale", 8.0, 1e-3, 1e3)
    for p in net.parameters():
        p.requires_grad = False
    for i, layer in enumerate(net.layers):
        if isinstance(layer, nn.Linear):
            net.layers[i] = Adapted(layer, min(rank, layer.in_features, layer.out_features), scale)

    def merge():
        for i, layer in enumerate(net.layers):
            if isinstance(layer, Adapted):
                net.layers[i] = layer.merged()
    return merge


if __name__ == "__main__":
    finetune.main(adapt, "lora")
