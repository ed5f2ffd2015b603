"""ask: a teacher writes text to prompts, so that a student can learn from it.

Data: "data", prompts: a .txt file with one a line, or a .csv or .jsonl file with a column
prompt (or the one that data.label names). The teacher is an endpoint that speaks
OpenAI's API, by the parameters url (up to and with /v1) and model, and the key in the
environment variable TEACHER_KEY (TEACHER_CA is an authority to believe besides); or
"teacher", a model of the recipe sequence.
Parameters: samples (answers to each prompt), system (a word to the teacher), max_tokens,
ask_temperature, timeout (seconds of one question), at_once (questions under way), tries.

Output: answers.ndjson, a line {row, sample, prompt, answer} each; answers.json says whose
they are. A question that takes too long, or is refused for now, is asked again, each time
after a longer pause. Answers are kept every few seconds: a job that is started again asks
only for those that are missing.
"""

import csv
import hashlib
import json
import os
import random
import signal
import ssl
import sys
import time
import urllib.error
import urllib.request
from concurrent.futures import FIRST_COMPLETED, ThreadPoolExecutor, wait

import torch

import job
import net as nets
import table

ANSWER_BYTES_MAX = 4 << 20
KEEP_EVERY = 5  # seconds
PAUSE_MAX = 60  # seconds


class NoRedirect(urllib.request.HTTPRedirectHandler):
    """A redirect would carry the key elsewhere."""

    def redirect_request(self, *args):
        return None


def prompts():
    where = job.DATA / "data"
    texts = sorted(where.rglob("*.txt"))
    if len(texts) == 1 and not job.parameter("data_file", "").endswith((".csv", ".jsonl")):
        out = [line.strip() for line in texts[0].open(encoding="utf-8")]
    else:
        path = table.find("data")
        try:
            cells, names = table.lines(path)
        except (ValueError, csv.Error) as e:
            sys.exit(f"{path.name}: it is not a table: {e}")
        wanted = job.parameter("data_label", "prompt")
        at = table.column("data.label", wanted, names, len(names or cells[0]))
        out = [row[at].strip() for row in cells]
    out = out[job.parameter("data_from", 0, 0):job.parameter("data_to", 0, 0) or None]
    if not any(out):
        sys.exit("data: there are no prompts in it")
    return out


def endpoint():
    """A function that asks the endpoint once; it raises OSError or ValueError for what may pass."""
    url = job.parameter("url", "").rstrip("/") + "/chat/completions"
    head = {"Content-Type": "application/json"}
    if os.environ.get("TEACHER_KEY"):
        head["Authorization"] = "Bearer " + os.environ["TEACHER_KEY"].strip()
    trust = ssl.create_default_context()
    if os.environ.get("TEACHER_CA"):
        trust.load_verify_locations(cadata=os.environ["TEACHER_CA"])
    opener = urllib.request.build_opener(NoRedirect, urllib.request.HTTPSHandler(context=trust))
    timeout, system = job.parameter("timeout", 60.0, 0.1, 3600.0), job.parameter("system", "")
    body = {"model": job.parameter("model", ""), "max_tokens": job.parameter("max_tokens", 256, 1), "temperature": job.parameter("ask_temperature", 0.7, 0.0, 2.0)}

    def ask(prompt, seed):
        messages = ([{"role": "system", "content": system}] if system else []) + [{"role": "user", "content": prompt}]
        data = json.dumps({**body, "messages": messages, "seed": seed}).encode()
        with opener.open(urllib.request.Request(url, data, head), timeout=timeout) as r:
            text = r.read(ANSWER_BYTES_MAX + 1)
        if len(text) > ANSWER_BYTES_MAX:
            raise ValueError(f"an answer of more than {ANSWER_BYTES_MAX} bytes")
        try:
            return str(json.loads(text)["choices"][0]["message"]["content"] or "")
        except (KeyError, IndexError, TypeError) as e:
            raise ValueError(f"an answer of another form than OpenAI's: {e!r}") from None
    return ask


def writer():
    """A function that has a model of the recipe sequence write."""
    net, about = nets.from_model(job.DATA / "teacher", "teacher")
    if net.config["net"] != "text":
        sys.exit("teacher: it writes no text; sequence learns from a model of the recipe sequence, or from an endpoint")
    most, heat = job.parameter("max_tokens", 256, 1), max(job.parameter("ask_temperature", 0.7, 0.0, 2.0), 0.01)

    def ask(prompt, seed):
        chance, text, out = torch.Generator().manual_seed(seed), about["begin"] + prompt + about["middle"], ""
        while len(out) < most:
            with torch.no_grad():
                scores = net(torch.tensor([net.codes(text + out)], dtype=torch.float32))[0]
            c = chr(net.config["vocabulary"][torch.multinomial(torch.softmax(scores / heat, 0), 1, generator=chance).item()])
            if c == about["end"]:
                break
            out += c
        return out
    return ask


def insist(ask, prompt, seed, tries):
    """Ask until there is an answer; a sentence about why there is none, otherwise."""
    pause, why = 1.0, ""
    for n in range(tries):
        if n:
            time.sleep(min(pause, PAUSE_MAX) * random.uniform(0.5, 1))
            pause *= 2
        try:
            return ask(prompt, seed), None
        except urllib.error.HTTPError as e:
            why = f"it answers {e.code} {e.reason}"
            if e.code not in (408, 409, 425, 429) and e.code < 500:
                return None, why + ", which asking again does not change; look at url, model and key"
        except (OSError, ValueError) as e:
            why = str(e) or type(e).__name__
    return None, f"after {tries} tries: {why}"


def main():
    seed = job.begin()
    asked = prompts()
    tries, samples = job.parameter("tries", 6, 1, 100), job.parameter("samples", 1, 1, 1000)
    names = ("url", "model", "system", "max_tokens", "ask_temperature", "samples", "seed")
    of = hashlib.sha256(json.dumps([asked, [job.parameter(n, "") for n in names]]).encode())
    teacher = job.DATA / "teacher" / "model.safetensors"
    if teacher.is_file():
        of.update(teacher.read_bytes())
    of, answers, epoch = of.hexdigest(), {}, 0
    found = job.latest(".ndjson")
    if found is not None:
        epoch, (first, *rest) = found[0], found[1].decode().splitlines()
        if json.loads(first)["of"] == of:
            answers = {(a["row"], a["sample"]): a for a in map(json.loads, rest)}
        else:
            job.say("the answers that were kept are of other questions, and are passed over")
    was = len(answers)
    ask = writer() if teacher.is_file() else endpoint()
    missing = [(i, s) for i in range(len(asked)) for s in range(samples) if asked[i] and (i, s) not in answers]
    whole = was + len(missing)
    job.tell("start", epochs=whole, resumed_from=was, world_size=1)
    job.say(f"{whole} answers are wanted, {was} are there")

    def keep():
        nonlocal epoch
        epoch += 1
        lines = [json.dumps({"of": of})] + [json.dumps(answers[k]) for k in sorted(answers)]
        job.save(epoch, "\n".join(lines).encode(), ".ndjson")
        job.tell("epoch", epoch=len(answers), epochs=whole, step=len(answers), metrics={"answers": len(answers), "answers_kept": was})

    signal.signal(signal.SIGTERM, lambda *_: sys.exit("it is asked to end; what was answered is kept"))
    pool, kept, failed = ThreadPoolExecutor(job.parameter("at_once", 4, 1, 256)), time.monotonic(), None
    try:
        todo, under = iter(missing), {}
        while failed is None:
            for i, s in todo:
                under[pool.submit(insist, ask, asked[i], seed * 1000 + s, tries)] = (i, s)
                if len(under) >= 2 * pool._max_workers:
                    break
            if not under:
                break
            for done in wait(under, return_when=FIRST_COMPLETED).done:
                i, s = under.pop(done)
                text, failed = done.result()
                if failed is not None:
                    break
                answers[i, s] = {"row": i, "sample": s, "prompt": asked[i], "answer": text}
            if time.monotonic() - kept > KEEP_EVERY:
                keep()
                kept = time.monotonic()
    finally:
        keep()
        pool.shutdown(wait=False, cancel_futures=True)
    if failed is not None:
        print(f"the teacher does not answer: {failed}; {len(answers)} of {whole} answers are kept", file=sys.stderr, flush=True)
        os._exit(1)  # questions under way would hold up the end
    job.write(job.OUTPUT / "answers.ndjson", ("\n".join(json.dumps(answers[k]) for k in sorted(answers)) + "\n").encode())
    job.write(job.OUTPUT / "answers.json", json.dumps({"form": 1, "task": "generation", "rows": len(asked), "answers": whole, "digest": of}, indent=1).encode())
    job.say(f"{whole} answers; {was} were there already")
    job.end(answers=whole, answers_kept=was)


if __name__ == "__main__":
    main()
