"""The network and the data: what the trainer and the benchmark share."""

import os
import pathlib

import numpy
import torch
from sklearn.model_selection import train_test_split
from torch import nn

SEED = 7
HELD_OUT = 0.2  # of the images, the same ones in every run


class Net(nn.Module):
    """8x8 grey image to the scores of ten digits; 38,298 parameters."""

    def __init__(self):
        super().__init__()
        self.conv1 = nn.Conv2d(1, 16, 3, padding=1)
        self.conv2 = nn.Conv2d(16, 32, 3, padding=1)
        self.fc1 = nn.Linear(32 * 4 * 4, 64)
        self.fc2 = nn.Linear(64, 10)

    def forward(self, x):
        x = nn.functional.max_pool2d(torch.relu(self.conv1(x)), 2)
        x = torch.relu(self.conv2(x))
        x = torch.relu(self.fc1(x.flatten(1)))
        return self.fc2(x)


def load():
    """Return the images and digits to train on, and those held out.

    All csv files of the job's data "digits": on each line the 64 pixels of an 8x8
    image with values 0 to 16, and the digit. examples/data has 1,797 of them
    (Alpaydin and Kaynak, UCI Machine Learning Repository, 1998).
    """
    files = sorted((pathlib.Path(os.environ.get("POLDER_DATA_DIR", "../data")) / "digits").glob("*.csv"))
    if not files:
        raise SystemExit("there is no csv file in the data set digits; put one into its bucket")
    rows = numpy.concatenate([numpy.loadtxt(f, delimiter=",", ndmin=2) for f in files])
    images, target = rows[:, :64].reshape(-1, 8, 8).astype(numpy.float32), rows[:, 64].astype(int)
    a, b, ya, yb = train_test_split(images, target, test_size=HELD_OUT, random_state=SEED, stratify=target)
    return a, ya, b, yb


def tensor(images):
    """Pixels as the network takes them: one channel, values 0 to 1."""
    return torch.from_numpy(images).unsqueeze(1) / 16
