"""Reads training samples from tar shards in the store, as a data loader does: many
workers, each with one ranged GET for each sample, in an order of its own.
"""
import hashlib, io, os, random, sys, tarfile, time
from concurrent.futures import ThreadPoolExecutor

import boto3
from botocore.config import Config

SHARDS, SAMPLES, WORKERS, EPOCHS = 6, 60, 16, 3
s3 = boto3.client("s3", endpoint_url=os.environ["AWS_ENDPOINT_URL_S3"], config=Config(s3={"addressing_style": "path"}, max_pool_connections=WORKERS))


def shard(n):
    """Uploads a shard and returns where its samples lie, and their digests."""
    rand, file = random.Random(n), io.BytesIO()
    with tarfile.open(fileobj=file, mode="w") as tar:
        for i in range(SAMPLES):
            body = rand.randbytes(rand.randrange(1, 120_000))
            info = tarfile.TarInfo(f"{n}-{i:04}.jpg")
            info.size = len(body)
            tar.addfile(info, io.BytesIO(body))
    key = f"shard-{n:05}.tar"
    s3.put_object(Bucket="shards", Key=key, Body=file.getvalue())
    with tarfile.open(fileobj=io.BytesIO(file.getvalue())) as tar:
        return [(key, m.offset_data, m.size, hashlib.sha256(tar.extractfile(m).read()).digest()) for m in tar.getmembers()]


def sample(at):
    key, offset, size, digest = at
    body = s3.get_object(Bucket="shards", Key=key, Range=f"bytes={offset}-{offset + size - 1}")["Body"].read()
    if len(body) != size or hashlib.sha256(body).digest() != digest:
        sys.exit(f"{key}, {size} bytes from {offset} on: other bytes came")
    return size


def whole(n):
    """Streams a shard and takes it apart, as a loader without an index does."""
    body = s3.get_object(Bucket="shards", Key=f"shard-{n:05}.tar")["Body"]
    with tarfile.open(fileobj=body, mode="r|") as tar:
        return sum(1 for _ in tar)


s3.create_bucket(Bucket="shards")
with ThreadPoolExecutor(WORKERS) as pool:
    index = [at for part in pool.map(shard, range(SHARDS)) for at in part]
    for epoch in range(EPOCHS):
        random.Random(epoch).shuffle(index)
        began = time.monotonic()
        got = sum(pool.map(sample, index))
        took = time.monotonic() - began
        print(f"epoch {epoch}: {len(index)} samples, {got / 1e6 / took:.0f} MB/s, {len(index) / took:.0f} samples/s")
    if list(pool.map(whole, range(SHARDS))) != [SAMPLES] * SHARDS:
        sys.exit("a shard that was streamed has another number of samples")
