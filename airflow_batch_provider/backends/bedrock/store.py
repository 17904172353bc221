"""The bucket: uploads in parts, downloads in chunks, outputs by listing."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator
from typing import Any, BinaryIO

from airflow_batch_provider.backends.bedrock.checks import split_uri
from airflow_batch_provider.backends.bedrock.errors import translated
from airflow_batch_provider.backends.resuming import ChangedError, Head, head_of, resumed
from airflow_batch_provider.core.errors import AuthenticationError, NotFoundError, RequestRejectedError
from airflow_batch_provider.core.jsonl import ended

_PART = 8 * 1024 * 1024
"""Bytes of one part; at most 10,000 parts, which is far above what a job takes."""
_CHUNK = 256 * 1024
_MANIFEST = "manifest.json.out"


class _Forward:
    """A stream that is only read forwards and in small pieces, whatever is asked: boto3 would have a part at once, or
    measure and read twice what can be sought in."""

    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream

    def read(self, size: int = -1) -> bytes:
        found = io.BytesIO()
        while size < 0 or found.tell() < size:
            wanted = _CHUNK if size < 0 else min(_CHUNK, size - found.tell())
            piece = self._stream.read(wanted)
            if not piece:
                break
            found.write(piece)
        return found.getvalue()


class BedrockStore:
    """Objects by their ``s3://`` URI.

    :param client: gives the boto3 client of S3.
    :param owner: the account that the bucket must belong to.
    """

    def __init__(self, client: Callable[[], Any], owner: str | None) -> None:
        self._client = client
        self._owner = {"ExpectedBucketOwner": owner} if owner else {}

    def upload(self, uri: str, stream: BinaryIO, kms_key_id: str | None) -> None:
        """Upload in parts, in this thread; an upload that fails leaves nothing."""
        client = self._client()
        from boto3.s3.transfer import TransferConfig

        bucket, key = split_uri(uri)
        extra = {"ContentType": "application/jsonl", **self._owner}
        if kms_key_id:
            extra |= {"ServerSideEncryption": "aws:kms", "SSEKMSKeyId": kms_key_id}
        config = TransferConfig(multipart_threshold=_PART, multipart_chunksize=_PART, use_threads=False)
        with translated("PutObject"):
            client.upload_fileobj(_Forward(stream), bucket, key, ExtraArgs=extra, Config=config)

    def read(self, uri: str) -> Iterator[bytes]:
        """An object's bytes, or those of all output files below a URI that ends with a slash."""
        if not uri.startswith("s3://"):
            raise NotFoundError(f"{uri!r} is not an s3:// URI")
        if uri.endswith("/"):
            yield from self.outputs(uri)
            return
        yield from resumed(f"GetObject {uri}", lambda offset, first: self._from(uri, offset, first))

    def _from(self, uri: str, offset: int, first: Head | None) -> Iterator[Head | bytes]:
        """An object from an offset on; of the same version as the first answer."""
        bucket, key = split_uri(uri)
        client = self._client()
        asked: dict[str, Any] = {"Bucket": bucket, "Key": key, **self._owner}
        if offset:
            asked["Range"] = f"bytes={offset}-"
        if first and first.tag:
            asked["IfMatch"] = first.tag
        try:
            with translated("GetObject"):
                answer = client.get_object(**asked)
                headers = {"content-range": answer.get("ContentRange") or "", "etag": answer.get("ETag") or ""}
                try:
                    status = answer["ResponseMetadata"]["HTTPStatusCode"]
                    yield head_of(status, {**headers, "content-length": str(answer["ContentLength"])})
                    yield from answer["Body"].iter_chunks(_CHUNK)
                finally:
                    answer["Body"].close()
        except RequestRejectedError as error:
            if error.status not in (412, 416):
                raise
            raise ChangedError(f"{error}; the object changed while it was read", ambiguous=False) from error

    def outputs(self, uri: str) -> Iterator[bytes]:
        """The lines of every ``.out`` below a prefix but the manifest, each file ended by an end of line.

        The names are not predicted: input from a folder gives one file each. Where there is none, whatever else is
        there is read: finished jobs were seen to write under other names (LiteLLM PR #40469).
        """
        found = [each for each in self.list(uri) if not each.endswith((f"/{_MANIFEST}", "/"))]
        for each in [each for each in found if each.endswith(".out")] or found:
            yield from ended(self.read(each))

    def list(self, uri: str, most: int | None = None) -> Iterator[str]:
        """The URIs below a prefix.

        :param most: return one page of so many.
        """
        bucket, prefix = split_uri(uri)
        page: dict[str, Any] = {"Bucket": bucket, "Prefix": prefix, **self._owner}
        if most is not None:
            page["MaxKeys"] = most
        client = self._client()
        while True:
            with translated("ListObjectsV2"):
                answer = client.list_objects_v2(**page)
            for item in answer.get("Contents") or []:
                yield f"s3://{bucket}/{item['Key']}"
            following = answer.get("NextContinuationToken")
            if most is not None or not answer.get("IsTruncated") or not following:
                return
            page["ContinuationToken"] = following

    def manifest(self, uri: str) -> bytes | None:
        """The manifest below a job's prefix, None where there is none."""
        try:
            return b"".join(self.read(uri + _MANIFEST))
        except NotFoundError:
            return None

    def delete(self, uri: str) -> None:
        """Delete an object, or all below a URI that ends with a slash."""
        client = self._client()
        for found in [*self.list(uri)] if uri.endswith("/") else [uri]:
            bucket, key = split_uri(found)
            try:
                with translated("DeleteObject"):
                    client.delete_object(Bucket=bucket, Key=key, **self._owner)
            except NotFoundError:
                continue
            except AuthenticationError as error:
                raise AuthenticationError(
                    f"{found} is left in place: deleting requires s3:DeleteObject on the bucket: {error}"
                ) from error

    def region(self, bucket: str) -> str | None:
        """Where a bucket lies, None where the caller may not look.

        :raises NotFoundError: when the bucket does not exist.
        """
        client = self._client()
        from botocore.exceptions import ClientError

        with translated("HeadBucket"):
            try:
                answer = client.head_bucket(Bucket=bucket)
            except ClientError as error:
                answer = error.response
                # HEAD has no body to say more in; a refusal may name the region all the same.
                if answer["ResponseMetadata"]["HTTPStatusCode"] not in (301, 400, 401, 403):
                    raise
        headers = answer["ResponseMetadata"].get("HTTPHeaders") or {}
        region = headers.get("x-amz-bucket-region") or answer.get("BucketRegion")
        return str(region) if region else None
