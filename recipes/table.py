"""Tables: what the data of a recipe is, and how it is told apart.

A table is a CSV file, parted by commas, tabs or semicolons, with or without a line of names, or JSON lines with the same
fields each. All columns but the label and the slices are features, which are numbers.
"""

import csv
import json
import math
import sys

import numpy

import job

ROWS_MAX, COLUMNS_MAX = 5_000_000, 16_384


class Table:
    """rows: float32 [n, features]; labels: a list of text, or None; names: of the features."""

    def __init__(self, rows, labels, names):
        self.rows, self.labels, self.names = rows, labels, names

    def __len__(self):
        return len(self.rows)

    def part(self, index):
        labels = None if self.labels is None else [self.labels[i] for i in index]
        return Table(self.rows[index], labels, self.names)


def find(name):
    """The file of the data source called name: the one that the parameter names, or the only one."""
    where = job.DATA / name
    wanted = job.parameter(name + "_file", "")
    if wanted:
        path = where / wanted
        if not path.is_file() or where.resolve() not in path.resolve().parents:
            sys.exit(f"{name}.file: there is no {wanted} in the data")
        return path
    files = [p for p in sorted(where.rglob("*")) if p.suffix in (".csv", ".jsonl") and p.is_file()]
    if len(files) != 1:
        sys.exit(f"{name}: there are {len(files)} files of the form .csv or .jsonl in it; name one with {name}.file")
    return files[0]


def lines(path):
    """The cells of each row, and the names of the columns, or None."""
    if path.suffix == ".jsonl":
        objects = [json.loads(line) for line in path.open(encoding="utf-8") if line.strip()]
        names = list(objects[0]) if objects else []
        return [[str(o.get(n, "")) for n in names] for o in objects], names
    with path.open(newline="", encoding="utf-8-sig") as f:
        first = f.readline()
        f.seek(0)
        comma = next((c for c in ",\t;" if c in first), ",")
        rows = [r for r in csv.reader(f, delimiter=comma) if r]
    if rows and not any(number(c) for c in rows[0]):
        return rows[1:], rows[0]
    return rows, None


def number(cell):
    try:
        return math.isfinite(float(cell))
    except ValueError:
        return False


def column(name, wanted, names, width):
    """The number of the column that is wanted, by name or by number from 1."""
    if names and wanted in names:
        return names.index(wanted)
    if wanted.isdigit() and 1 <= int(wanted) <= width:
        return int(wanted) - 1
    sys.exit(f"{name}: there is no column {wanted!r}; there are {', '.join(names) if names else f'{width} without names, from 1'}")


def read(name, features=None):
    """Read the table of the data source name. One that has as many columns as there are
    features has no labels."""
    path = find(name)
    try:
        cells, names = lines(path)
    except (ValueError, csv.Error) as e:
        sys.exit(f"{path.name}: it is not a table: {e}")
    begins, ends = job.parameter(name + "_from", 0, 0), job.parameter(name + "_to", 0, 0)
    cells = cells[begins:ends or None]
    if not cells:
        sys.exit(f"{path.name}: the table is empty; there must be at least one row from {begins} to {ends or 'its end'}")
    width = len(cells[0])
    if len(cells) > ROWS_MAX or width > COLUMNS_MAX:
        sys.exit(f"{path.name}: {len(cells)} rows of {width} columns; at most {ROWS_MAX} of {COLUMNS_MAX} are read")
    slices = [column(name + ".slices", s, names, width) for s in job.parameter(name + "_slices", "").split(",") if s]
    wanted = job.parameter(name + "_label", "")
    label = None
    if wanted:
        label = column(name + ".label", wanted, names, width)
    elif features is None or width - len(slices) != features:
        label = width - 1
    keep = [i for i in range(width) if i != label and i not in slices]
    if features is not None and len(keep) != features:
        sys.exit(f"{path.name}: it has {len(keep)} columns of features, the model takes {features}; the label is column {label + 1 if label is not None else 'none'}")
    rows = numpy.empty((len(cells), len(keep)), numpy.float32)
    for n, line in enumerate(cells):
        if len(line) != width:
            sys.exit(f"{path.name}: row {begins + n} has {len(line)} columns, the first has {width}")
        for to, i in enumerate(keep):
            if not number(line[i]):
                sys.exit(f"{path.name}: row {begins + n}, column {names[i] if names else i + 1}: {line[i][:40]!r} is not a number")
            rows[n, to] = float(line[i])
    labels = None if label is None else [line[label].strip() for line in cells]
    return Table(rows, labels, [names[i] for i in keep] if names else None)


def hold(table, part, seed):
    """Tell a part of the rows apart to judge by, the same ones for the same seed; of each
    label alike, where labels are few. Return both as lists of numbers."""
    order = numpy.random.RandomState(seed % 2**32).permutation(len(table))
    groups = {}
    few = table.labels is not None and len(set(table.labels)) <= len(table) // 10
    for i in order:
        groups.setdefault(table.labels[i] if few else "", []).append(int(i))
    held = []
    for g in groups.values():
        held += g[:round(len(g) * part)]
    if not held or len(held) == len(table):
        sys.exit(f"{len(table)} rows are too few to hold back a part of {part}; give more, or name what to judge by in held")
    away = set(held)
    return [i for i in range(len(table)) if i not in away], sorted(held)


def classes(labels):
    """The labels there are, numbers in their order and all else by name."""
    found = set(labels)
    if "" in found:
        sys.exit("the column of labels has empty cells; take these rows out, or name another column with label")
    if len(found) < 2:
        sys.exit(f"the only label is {found.pop()!r}; there must be two at least")
    if len(found) > 1000 or len(found) > 20 and len(found) > len(labels) / 2:
        sys.exit(f"there are {len(found)} labels in {len(labels)} rows; for a column of numbers set the parameter task to regression")
    return sorted(found, key=lambda s: (0, float(s), s) if number(s) else (1, 0, s))


def targets(labels):
    """Labels as numbers."""
    for i, s in enumerate(labels):
        if not number(s):
            sys.exit(f"row {i}: the label {s[:40]!r} is not a number, as regression needs; with task classification it may be a name")
    return numpy.array([float(s) for s in labels], numpy.float32)


def text(table, labels_first=False):
    """The table as CSV with a line of names."""
    names = table.names or [f"x{i}" for i in range(table.rows.shape[1])]
    out = [",".join([f'"{n}"' if "," in n else n for n in names] + ["label"])]
    for row, label in zip(table.rows, table.labels):
        out.append(",".join([repr(float(v)).removesuffix(".0") for v in row] + [label]))
    return ("\n".join(out) + "\n").encode()
