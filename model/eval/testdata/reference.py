# Writes reference.json: what scikit-learn and SciPy say of the answers in it.
# Run by hand, with Debian's python3-sklearn: /usr/bin/python3 reference.py
import json
import numpy as np
import scipy
import scipy.stats
import sklearn
from sklearn import metrics

rng = np.random.default_rng(20)
out = {"sklearn": sklearn.__version__, "scipy": scipy.__version__}


def classify(n, k, sharp):
    expected = rng.integers(0, k, n)
    logits = rng.normal(size=(n, k)).round(1)
    logits[np.arange(n), expected] += sharp
    p = np.exp(logits)
    p = (p / p.sum(axis=1, keepdims=True)).astype(np.float32)
    return expected, p, p.argmax(axis=1)


def measure(expected, p, predicted, k):
    auc = metrics.roc_auc_score(expected, p[:, 1]) if k == 2 else metrics.roc_auc_score(
        expected, p.astype(np.float64) / p.sum(axis=1, keepdims=True, dtype=np.float64), multi_class="ovr", average="macro")
    return {"expected": expected.tolist(), "predicted": predicted.tolist(), "probability": p.flatten().tolist(), "classes": k,
            "accuracy": metrics.accuracy_score(expected, predicted), "f1": metrics.f1_score(expected, predicted, average="macro"), "auc": auc}


out["classification"] = [measure(*classify(150, 2, .8), 2), measure(*classify(200, 4, 1.), 4)]

values, answers = rng.normal(size=60), rng.normal(size=60)
answers = values + .3 * answers
out["regression"] = {"expected": values.tolist(), "answered": answers.tolist(),
                     "mae": metrics.mean_absolute_error(values, answers), "rmse": metrics.mean_squared_error(values, answers, squared=False)}

out["wilson"] = []
for k, n in [(0, 10), (1, 10), (5, 10), (97, 100), (350, 360), (10, 10)]:
    ci = scipy.stats.binomtest(k, n).proportion_ci(method="wilson")
    out["wilson"].append({"hits": k, "n": n, "low": ci.low, "high": ci.high})

def midp(b, c):
    """Two-sided mid-p of McNemar's test."""
    point = scipy.stats.binom.pmf(b, b + c, .5)
    return 1 - point / 2 if b == c else scipy.stats.binomtest(b, b + c, .5).pvalue - point

out["mcnemar"] = [{"gained": b, "lost": c, "p": midp(b, c)} for b, c in [(1, 0), (3, 9), (10, 2), (25, 40), (7, 7)]]

a, b = rng.normal(size=11), rng.normal(size=11) + .7
test = scipy.stats.permutation_test((a, b), lambda x, y, axis: np.mean(x - y, axis=axis), permutation_type="samples", vectorized=True, n_resamples=np.inf)
out["permutation"] = {"a": a.tolist(), "b": b.tolist(), "p": float(test.pvalue)}

with open("reference.json", "w") as f:
    json.dump(out, f)
    f.write("\n")
