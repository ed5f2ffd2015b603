"""A conversation of Debian's boto3 with the store; each function is one subject.

Keys, endpoint and region come from the environment, as AWS's tools take them. It
stops at the first thing that is not as the S3 API Reference has it.
"""
import base64, hashlib, io, json, os, socket, sys, urllib.error, urllib.request, zlib
from datetime import datetime, timedelta, timezone
from unittest import mock

os.environ["BOTO_DISABLE_CRT"] = "true"  # the other signer, which awscli uses, has a clock of its own
import boto3
from boto3.s3.transfer import TransferConfig
from botocore.config import Config
from botocore.exceptions import ClientError

ENDPOINT = os.environ["AWS_ENDPOINT_URL_S3"]
CONFIG = Config(s3={"addressing_style": "path"}, signature_version="s3v4", retries={"max_attempts": 1})
s3 = boto3.client("s3", endpoint_url=ENDPOINT, config=CONFIG)
MiB = 1 << 20


def same(got, want, what):
    if got != want:
        sys.exit(f"{what}: {got!r}, want {want!r}")


def refused(code, call, **args):
    """The call must fail with this code and a message that says something."""
    try:
        call(**args)
    except ClientError as e:
        same(e.response["Error"]["Code"], code, f"{args}: code")
        if code.isdigit():  # an answer to HEAD has no body
            return ""
        message = e.response["Error"].get("Message", "")
        if len(message) < 20:
            sys.exit(f"{code}: the message {message!r} helps nobody")
        return message
    sys.exit(f"{args}: was not refused with {code}")


def web(method, url, data=None, **head):
    r = urllib.request.Request(url, data=data, method=method, headers={k.replace("_", "-"): v for k, v in head.items()})
    try:
        with urllib.request.urlopen(r) as a:
            return a.status, a.headers, a.read()
    except urllib.error.HTTPError as e:
        return e.code, e.headers, e.read()


def read(bucket, key, **args):
    return s3.get_object(Bucket=bucket, Key=key, **args)["Body"].read()


def presigned(b):
    put = s3.generate_presigned_url("put_object", Params={"Bucket": b, "Key": "a b/ü"}, ExpiresIn=60)
    same(web("PUT", put, b"by URL")[0], 200, "PUT of a presigned URL")
    get = s3.generate_presigned_url("get_object", Params={"Bucket": b, "Key": "a b/ü"}, ExpiresIn=60)
    same(web("GET", get)[2], b"by URL", "GET of a presigned URL")
    same(web("GET", get.replace("Expires=60", "Expires=61"))[0], 403, "GET of a URL that was changed")
    same(web("PUT", get, b"x")[0], 403, "PUT to a URL for GET")
    form = s3.generate_presigned_post(b, "form/${filename}", ExpiresIn=60)
    parts = "".join(f'--xx\r\nContent-Disposition: form-data; name="{k}"\r\n\r\n{v}\r\n' for k, v in form["fields"].items())
    parts += '--xx\r\nContent-Disposition: form-data; name="file"; filename="f.txt"\r\n\r\nof a form\r\n--xx--\r\n'
    code, _, text = web("POST", form["url"], parts.encode(), Content_Type="multipart/form-data; boundary=xx")
    same(code, 204, f"POST of a form: {text}")
    same(read(b, "form/f.txt"), b"of a form", "what a form sent")


def multipart(b):
    body = os.urandom(17 * MiB + 11)
    conf = TransferConfig(multipart_threshold=8 * MiB, multipart_chunksize=6 * MiB, max_concurrency=4)
    s3.upload_fileobj(io.BytesIO(body), b, "big", Config=conf, ExtraArgs={"Metadata": {"who": "transfer"}})
    head = s3.head_object(Bucket=b, Key="big")
    want = hashlib.md5(b"".join(hashlib.md5(body[i:i + 6 * MiB]).digest() for i in range(0, len(body), 6 * MiB))).hexdigest()
    same(head["ETag"], f'"{want}-3"', "ETag of parts")
    same(head["Metadata"], {"who": "transfer"}, "metadata of parts")
    out = io.BytesIO()
    s3.download_fileobj(b, "big", out, Config=conf)
    same(out.getvalue() == body, True, "what the transfer manager reads")
    up = s3.create_multipart_upload(Bucket=b, Key="joined")["UploadId"]
    copied = s3.upload_part_copy(Bucket=b, Key="joined", UploadId=up, PartNumber=1, CopySource={"Bucket": b, "Key": "big"}, CopySourceRange=f"bytes=0-{6 * MiB - 1}")
    own = s3.upload_part(Bucket=b, Key="joined", UploadId=up, PartNumber=2, Body=b"tail")
    same([p["PartNumber"] for p in s3.list_parts(Bucket=b, Key="joined", UploadId=up)["Parts"]], [1, 2], "parts")
    same([u["Key"] for u in s3.list_multipart_uploads(Bucket=b)["Uploads"]], ["joined"], "uploads")
    parts = [{"PartNumber": 1, "ETag": copied["CopyPartResult"]["ETag"]}, {"PartNumber": 2, "ETag": own["ETag"]}]
    refused("InvalidPart", s3.complete_multipart_upload, Bucket=b, Key="joined", UploadId=up, MultipartUpload={"Parts": [{"PartNumber": 1, "ETag": '"0"'}]})
    refused("InvalidPartOrder", s3.complete_multipart_upload, Bucket=b, Key="joined", UploadId=up, MultipartUpload={"Parts": parts[::-1]})
    s3.complete_multipart_upload(Bucket=b, Key="joined", UploadId=up, MultipartUpload={"Parts": parts})
    same(read(b, "joined") == body[:6 * MiB] + b"tail", True, "an object of a copied part and another")
    same(read(b, "joined", PartNumber=2), b"tail", "part 2")
    up = s3.create_multipart_upload(Bucket=b, Key="small")["UploadId"]
    two = [{"PartNumber": n, "ETag": s3.upload_part(Bucket=b, Key="small", UploadId=up, PartNumber=n, Body=b"x")["ETag"]} for n in (1, 2)]
    refused("EntityTooSmall", s3.complete_multipart_upload, Bucket=b, Key="small", UploadId=up, MultipartUpload={"Parts": two})
    s3.abort_multipart_upload(Bucket=b, Key="small", UploadId=up)
    refused("NoSuchUpload", s3.upload_part, Bucket=b, Key="small", UploadId=up, PartNumber=1, Body=b"x")
    refused("InvalidArgument", s3.upload_part, Bucket=b, Key="small", UploadId=up, PartNumber=10001, Body=b"x")


def versions(b):
    s3.put_bucket_versioning(Bucket=b, VersioningConfiguration={"Status": "Enabled"})
    ids = [s3.put_object(Bucket=b, Key="v", Body=f"{i}".encode())["VersionId"] for i in range(3)]
    same([read(b, "v", VersionId=i) for i in ids], [b"0", b"1", b"2"], "versions")
    gone = s3.delete_object(Bucket=b, Key="v")
    same(gone["DeleteMarker"], True, "deletion makes a marker")
    refused("NoSuchKey", s3.get_object, Bucket=b, Key="v")
    listed = s3.list_object_versions(Bucket=b, Prefix="v")
    same([v["VersionId"] for v in listed["Versions"]], ids[::-1], "versions that are listed")
    s3.delete_object(Bucket=b, Key="v", VersionId=gone["VersionId"])
    same(read(b, "v"), b"2", "the object is back without its marker")
    refused("NoSuchVersion", s3.get_object, Bucket=b, Key="v", VersionId="00000000000000000000000000000000")
    s3.put_bucket_versioning(Bucket=b, VersioningConfiguration={"Status": "Suspended"})
    s3.put_object(Bucket=b, Key="v", Body=b"last")
    same(read(b, "v", VersionId="null"), b"last", "the version without an id of a bucket that is suspended")
    same(read(b, "v", VersionId=ids[2]), b"2", "the older version")


def tags(b):
    s3.put_object(Bucket=b, Key="t", Body=b"x", Tagging="a=1&b=zwei%20drei")
    tag = {t["Key"]: t["Value"] for t in s3.get_object_tagging(Bucket=b, Key="t")["TagSet"]}
    same(tag, {"a": "1", "b": "zwei drei"}, "tags")
    s3.put_object_tagging(Bucket=b, Key="t", Tagging={"TagSet": [{"Key": "c", "Value": "3"}]})
    same(s3.get_object(Bucket=b, Key="t")["TagCount"], 1, "number of tags")
    s3.delete_object_tagging(Bucket=b, Key="t")
    same(s3.get_object_tagging(Bucket=b, Key="t")["TagSet"], [], "tags that were removed")
    refused("InvalidTag", s3.put_object_tagging, Bucket=b, Key="t", Tagging={"TagSet": [{"Key": f"{i}", "Value": ""} for i in range(11)]})


def conditions(b):
    def only(header, value):  # boto3 of 2022 has no name for it
        def add(request, **_):
            request.headers[header] = value
        return add
    hook = only("If-None-Match", "*")
    s3.meta.events.register("before-sign.s3.PutObject", hook)
    etag = s3.put_object(Bucket=b, Key="once", Body=b"first")["ETag"]
    refused("PreconditionFailed", s3.put_object, Bucket=b, Key="once", Body=b"second")
    s3.meta.events.unregister("before-sign.s3.PutObject", hook)
    hook = only("If-Match", etag)
    s3.meta.events.register("before-sign.s3.PutObject", hook)
    s3.put_object(Bucket=b, Key="once", Body=b"third")
    refused("PreconditionFailed", s3.put_object, Bucket=b, Key="once", Body=b"fourth")
    s3.meta.events.unregister("before-sign.s3.PutObject", hook)
    now = s3.head_object(Bucket=b, Key="once")
    refused("304", s3.get_object, Bucket=b, Key="once", IfNoneMatch=now["ETag"])
    refused("304", s3.get_object, Bucket=b, Key="once", IfModifiedSince=now["LastModified"] + timedelta(seconds=1))
    refused("PreconditionFailed", s3.get_object, Bucket=b, Key="once", IfMatch='"0"')


def ranges(b):
    s3.put_object(Bucket=b, Key="r", Body=b"0123456789")
    got = s3.get_object(Bucket=b, Key="r", Range="bytes=2-4")
    same((got["ContentRange"], got["Body"].read()), ("bytes 2-4/10", b"234"), "a range")
    same(read(b, "r", Range="bytes=-3"), b"789", "the last bytes")
    same(read(b, "r", Range="bytes=7-"), b"789", "bytes to the end")
    refused("InvalidRange", s3.get_object, Bucket=b, Key="r", Range="bytes=10-")
    same(read(b, "r", Range="lines=1-2"), b"0123456789", "a range of another unit")


def policy(b):
    s3.put_object(Bucket=b, Key="open/x", Body=b"for all")
    s3.put_object(Bucket=b, Key="shut/x", Body=b"for us")
    other = boto3.client("s3", endpoint_url=ENDPOINT, config=CONFIG, aws_access_key_id="test:tester", aws_secret_access_key="testing")
    refused("AccessDenied", other.get_object, Bucket=b, Key="open/x")
    refused("MalformedPolicy", s3.put_bucket_policy, Bucket=b, Policy=json.dumps({"Version": "2012-10-17", "Statement": [{"Effect": "Maybe"}]}))
    s3.put_bucket_policy(Bucket=b, Policy=json.dumps({"Version": "2012-10-17", "Statement": [
        {"Effect": "Allow", "Principal": "*", "Action": "s3:GetObject", "Resource": f"arn:aws:s3:::{b}/open/*"},
        {"Effect": "Allow", "Principal": {"AWS": "arn:aws:iam::test:root"}, "Action": "s3:PutObject", "Resource": f"arn:aws:s3:::{b}/in/*"}]}))
    same(web("GET", f"{ENDPOINT}/{b}/open/x")[2], b"for all", "GET by anybody")
    same(web("GET", f"{ENDPOINT}/{b}/shut/x")[0], 403, "GET of what is not open")
    other.put_object(Bucket=b, Key="in/x", Body=b"of another account")
    refused("AccessDenied", other.put_object, Bucket=b, Key="out/x", Body=b"x")
    same(s3.get_bucket_policy_status(Bucket=b)["PolicyStatus"]["IsPublic"], True, "a policy for everybody is public")
    s3.delete_bucket_policy(Bucket=b)
    same(web("GET", f"{ENDPOINT}/{b}/open/x")[0], 403, "GET without the policy")


def locks(b):
    s3.create_bucket(Bucket=b + "-locked", ObjectLockEnabledForBucket=True)
    b += "-locked"
    until = datetime.now(timezone.utc) + timedelta(hours=1)
    v = s3.put_object(Bucket=b, Key="k", Body=b"kept", ObjectLockMode="GOVERNANCE", ObjectLockRetainUntilDate=until, ContentMD5=base64.b64encode(hashlib.md5(b"kept").digest()).decode())["VersionId"]
    refused("AccessDenied", s3.delete_object, Bucket=b, Key="k", VersionId=v)
    s3.put_object_legal_hold(Bucket=b, Key="k", VersionId=v, LegalHold={"Status": "ON"})
    refused("AccessDenied", s3.delete_object, Bucket=b, Key="k", VersionId=v, BypassGovernanceRetention=True)
    s3.put_object_legal_hold(Bucket=b, Key="k", VersionId=v, LegalHold={"Status": "OFF"})
    s3.delete_object(Bucket=b, Key="k", VersionId=v, BypassGovernanceRetention=True)
    s3.put_object_lock_configuration(Bucket=b, ObjectLockConfiguration={"ObjectLockEnabled": "Enabled", "Rule": {"DefaultRetention": {"Mode": "COMPLIANCE", "Days": 1}}})
    v = s3.put_object(Bucket=b, Key="c", Body=b"kept", ContentMD5=base64.b64encode(hashlib.md5(b"kept").digest()).decode())["VersionId"]
    same(s3.get_object_retention(Bucket=b, Key="c")["Retention"]["Mode"], "COMPLIANCE", "the bucket's retention")
    refused("AccessDenied", s3.delete_object, Bucket=b, Key="c", VersionId=v, BypassGovernanceRetention=True)


def cors(b):
    refused("NoSuchCORSConfiguration", s3.get_bucket_cors, Bucket=b)
    s3.put_bucket_cors(Bucket=b, CORSConfiguration={"CORSRules": [{"AllowedOrigins": ["https://*.example.org"], "AllowedMethods": ["GET", "PUT"], "AllowedHeaders": ["*"], "ExposeHeaders": ["ETag"], "MaxAgeSeconds": 60}]})
    url = f"{ENDPOINT}/{b}/x"
    code, h, _ = web("OPTIONS", url, Origin="https://a.example.org", Access_Control_Request_Method="PUT", Access_Control_Request_Headers="content-type")
    same((code, h["Access-Control-Allow-Origin"], h["Access-Control-Max-Age"]), (200, "https://a.example.org", "60"), "a preflight")
    same(web("OPTIONS", url, Origin="https://evil.example.com", Access_Control_Request_Method="PUT")[0], 403, "a preflight of another origin")


def checksums(b):
    body = b"to be summed"
    for name, value in {"CRC32": zlib.crc32(body).to_bytes(4, "big"), "SHA1": hashlib.sha1(body).digest(), "SHA256": hashlib.sha256(body).digest()}.items():
        put = s3.put_object(Bucket=b, Key=name, Body=body, ChecksumAlgorithm=name)
        want = base64.b64encode(value).decode()
        same(put["Checksum" + name], want, name)
        same(s3.get_object(Bucket=b, Key=name, ChecksumMode="ENABLED")["Checksum" + name], want, name + " that is read")
        wrong = base64.b64encode(bytes(len(value))).decode()
        refused("BadDigest", s3.put_object, Bucket=b, Key="wrong", Body=body, **{"Checksum" + name: wrong})
    refused("BadDigest", s3.put_object, Bucket=b, Key="wrong", Body=body, ContentMD5=base64.b64encode(bytes(16)).decode())
    refused("InvalidDigest", s3.put_object, Bucket=b, Key="wrong", Body=body, ContentMD5="no digest")
    refused("404", s3.head_object, Bucket=b, Key="wrong")
    got = s3.get_object_attributes(Bucket=b, Key="SHA256", ObjectAttributes=["Checksum", "ObjectSize"])
    same((got["ObjectSize"], "ChecksumSHA256" in got["Checksum"]), (len(body), True), "attributes")


def messages(b):
    def client(**args):
        own = {"aws_access_key_id": os.environ["AWS_ACCESS_KEY_ID"], "aws_secret_access_key": os.environ["AWS_SECRET_ACCESS_KEY"]}
        return boto3.client("s3", endpoint_url=ENDPOINT, config=CONFIG, **{**own, **args})
    said = refused("SignatureDoesNotMatch", client(aws_secret_access_key="wrong").list_buckets)
    same("secret" in said, True, f"a wrong secret is named: {said!r}")
    refused("InvalidAccessKeyId", client(aws_access_key_id="NOBODY").list_buckets)
    with mock.patch("botocore.auth.datetime") as clock:
        clock.datetime.utcnow.return_value = datetime.utcnow() - timedelta(hours=2)
        said = refused("RequestTimeTooSkewed", client().list_buckets)
    same("clock" in said or "time" in said, True, f"the clock is named: {said!r}")
    refused("NoSuchBucket", s3.list_objects_v2, Bucket="no-such-bucket-here")
    refused("NoSuchKey", s3.get_object, Bucket=b, Key="nothing")
    refused("404", s3.head_object, Bucket=b, Key="nothing")
    refused("InvalidBucketName", client().create_bucket, Bucket="Bad_Name")
    s3.put_object(Bucket=b, Key="x", Body=b"x")
    refused("BucketNotEmpty", s3.delete_bucket, Bucket=b)
    refused("KeyTooLongError", s3.put_object, Bucket=b, Key="k" * 1025, Body=b"x")
    refused("MetadataTooLarge", s3.put_object, Bucket=b, Key="m", Body=b"x", Metadata={"m": "x" * 3000})
    # A body that claims 6 GiB is refused by its head, before it comes.
    up = s3.create_multipart_upload(Bucket=b, Key="huge")["UploadId"]
    for call, args in {"put_object": {}, "upload_part": {"UploadId": up, "PartNumber": 1}}.items():
        url = s3.generate_presigned_url(call, Params={"Bucket": b, "Key": "huge", **args})
        host, path = url.removeprefix("http://").split("/", 1)
        with socket.create_connection(host.split(":")) as c:
            c.settimeout(20)
            c.sendall(f"PUT /{path} HTTP/1.1\r\nHost: {host}\r\nContent-Length: {6 << 30}\r\nConnection: close\r\n\r\n".encode())
            text = c.makefile("rb").read().decode()
        same("<Code>EntityTooLarge</Code>" in text, True, f"an oversize body of {call}: {text!r}")


SUBJECTS = [presigned, multipart, versions, tags, conditions, ranges, policy, locks, cors, checksums, messages]

if __name__ == "__main__":
    for subject in SUBJECTS:
        if len(sys.argv) > 1 and subject.__name__ not in sys.argv[1:]:
            continue
        bucket = "boto-" + subject.__name__
        s3.create_bucket(Bucket=bucket)
        subject(bucket)
        print(subject.__name__)
