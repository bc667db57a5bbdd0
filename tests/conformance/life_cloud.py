"""The life of a job of Vertex AI through Google's clients: google-genai, google-cloud-storage, google-cloud-bigquery.

Finds the services by the environment, as a user's program does; prints what it saw as one JSON document. It imports
nothing but the clients. A token takes the place of an account.

    python life_cloud.py URL blocking|aio
"""

from __future__ import annotations

import asyncio
import importlib
import inspect
import io
import json
import operator
import os
import sys
import urllib.request
from typing import Any

genai = importlib.import_module("google.genai")
storage = importlib.import_module("google.cloud.storage")
bigquery = importlib.import_module("google.cloud.bigquery")
pyarrow = importlib.import_module("pyarrow")
parquet = importlib.import_module("pyarrow.parquet")
exceptions = importlib.import_module("google.api_core.exceptions")
anonymous = importlib.import_module("google.auth.credentials").AnonymousCredentials
account = importlib.import_module("google.oauth2.credentials").Credentials

URL, WAY = sys.argv[1], sys.argv[2]
MODEL, PROJECT = "gemini-3.8-flash", "a-project"


class Sdk:
    """Calls of google-genai by name; the asynchronous half looks like the blocking one."""

    def __init__(self) -> None:
        whole = genai.Client(
            vertexai=True, project=PROJECT, location="us-central1", credentials=account(token="a-token")
        )
        self._loop = asyncio.new_event_loop() if WAY == "aio" else None
        self._client = whole.aio if self._loop else whole

    def __call__(self, method: str, **arguments: Any) -> Any:
        result = operator.attrgetter(f"batches.{method}")(self._client)(**arguments)
        return self._done(result) if inspect.isawaitable(result) else result

    def _done(self, awaitable: Any) -> Any:
        async def wait() -> Any:
            return await awaitable

        assert self._loop
        return self._loop.run_until_complete(wait())

    def every(self, **config: Any) -> list[str]:
        pager = self("list", config=config)
        if not self._loop:
            return [one.name for one in pager]

        async def collect() -> list[str]:
            return [one.name async for one in pager]

        names: list[str] = self._done(collect())
        return names

    def ended(self, name: str) -> Any:
        while not (job := self("get", name=name)).end_time:
            pass
        return job

    def refusal(self, method: str, **arguments: Any) -> list[Any]:
        try:
            return ["made", str(self(method, **arguments))]
        except genai.errors.APIError as error:
            return [error.code, error.status]


def clock(seconds: int) -> None:
    data, headers = json.dumps({"advance": seconds}).encode(), {"Content-Type": "application/json"}
    with urllib.request.urlopen(urllib.request.Request(f"{URL}/emulator/clock", data, headers)):
        pass


def row(number: int) -> dict[str, Any]:
    contents = [{"role": "user", "parts": [{"text": f"Number {number}."}]}]
    return {"contents": contents, "labels": {"id": f"row-{number}"}}


def refused(call: Any, *arguments: Any, **options: Any) -> str:
    try:
        call(*arguments, **options)
    except exceptions.GoogleAPICallError as error:
        return type(error).__name__
    return "nothing"


def buckets(client: Any) -> dict[str, Any]:
    """Objects of all kinds: uploads in one and in several requests, ranges, copies, composites, conditions."""
    bucket = client.create_bucket("inputs")
    seen: dict[str, Any] = {"buckets": [one.name for one in client.list_buckets()]}
    data = os.urandom((2 << 20) + 1000)
    large = bucket.blob("a folder/größer.bin", chunk_size=1 << 20)
    large.upload_from_file(io.BytesIO(data))
    seen["large"] = large.download_as_bytes() == data
    seen["range"] = large.download_as_bytes(start=10, end=19) == data[10:20]
    with large.open("rb") as file:
        file.seek(1000)
        seen["seek"] = file.read(10) == data[1000:1010]
    with bucket.blob("written").open("wb", chunk_size=256 << 10) as file:
        file.write(data)
    small = bucket.blob("small.txt")
    small.upload_from_string("small", content_type="text/plain")
    small.metadata = {"from": "here"}
    small.patch()
    small.reload()
    seen["small"] = [small.content_type, small.metadata, small.size, small.metageneration]
    copy = bucket.copy_blob(small, bucket, "copy")
    whole = bucket.blob("whole")
    whole.compose([small, copy])
    seen["whole"] = [whole.download_as_text(), whole.component_count, whole.md5_hash]
    moved = bucket.blob("moved")
    seen["rewritten"] = list(moved.rewrite(small))
    copy.delete()
    seen["empty"] = (bucket.blob("empty").upload_from_string(b""), bucket.blob("empty").download_as_text())[1]
    listed = client.list_blobs("inputs", delimiter="/", page_size=2)
    seen["names"] = [one.name for one in listed]
    seen["folders"] = sorted(listed.prefixes)
    seen["exists"] = [copy.exists(), small.exists()]
    seen["refused"] = [
        refused(bucket.blob("small.txt").upload_from_string, "x", if_generation_match=0),
        refused(bucket.blob("nothing").download_as_bytes),
        refused(client.get_bucket, "nobodys-bucket"),
        refused(client.create_bucket, "inputs"),
        refused(bucket.delete),
        refused(small.reload, if_metageneration_match=99),
    ]
    return seen


def from_objects(sdk: Sdk, client: Any) -> dict[str, Any]:
    bucket = client.bucket("inputs")
    lines = [json.dumps({"request": row(number)}) for number in range(5)]
    bucket.blob("in.jsonl").upload_from_string("\n".join(lines), content_type="application/jsonl")
    made = sdk("create", model=MODEL, src="gs://inputs/in.jsonl", config={"display_name": "nightly"})
    seen: dict[str, Any] = {"made": [made.state.name, made.display_name, made.model, made.dest.gcs_uri]}
    seen["queued"] = sdk("get", name=made.name).state.name
    clock(3600)
    clock(200)
    seen["running"] = sdk("get", name=made.name).state.name
    clock(3600)
    job = sdk.ended(made.name)
    stats = job.completion_stats
    seen["ended"] = [job.state.name, stats.successful_count, stats.failed_count, job.create_time < job.end_time]
    folder = job.output_info.gcs_output_directory
    (blob,) = client.list_blobs("inputs", prefix=folder.removeprefix("gs://inputs/"))
    seen["output"] = [folder, blob.name]
    seen["rows"] = [json.loads(line) for line in blob.download_as_text().splitlines()]
    other = sdk("create", model=MODEL, src="gs://inputs/in.jsonl")
    seen["lists"] = [
        sdk.every(page_size=1) == [other.name, made.name],
        sdk.every(filter='display_name:"night*"') == [made.name],
    ]
    sdk("cancel", name=other.name)
    seen["cancelled"] = sdk.ended(other.name).state.name
    seen["refused"] = [
        sdk.refusal("cancel", name=other.name),
        sdk.refusal("get", name="1234567890"),
        sdk.refusal("create", model="gemini-0", src="gs://inputs/in.jsonl"),
        sdk.refusal("create", model=MODEL, src="gs://nobodys-bucket/in.jsonl"),
    ]
    seen["deleted"] = sdk("delete", name=other.name).done
    seen["gone"] = sdk.refusal("get", name=other.name)
    return seen


def from_tables(sdk: Sdk, client: Any) -> dict[str, Any]:
    client.create_dataset("d")
    schema = [bigquery.SchemaField("id", "INTEGER"), bigquery.SchemaField("request", "JSON")]
    table = client.create_table(bigquery.Table(f"{PROJECT}.d.t", schema=schema))
    rows = [{"id": number, "request": json.dumps(row(number))} for number in range(5)]
    seen: dict[str, Any] = {"inserted": [client.insert_rows_json(table, rows), client.get_table(table).num_rows]}
    made = sdk("create", model=MODEL, src=f"bq://{PROJECT}.d.t", config={"dest": f"bq://{PROJECT}.d.out"})
    clock(7200)
    seen["ended"] = sdk.ended(made.name).state.name
    found = list(client.list_rows(client.get_table(f"{PROJECT}.d.out"), page_size=2))
    seen["ids"] = sorted(one["id"] for one in found)
    seen["texts"] = sorted(one["request"]["labels"]["id"] for one in found if one["response"]["candidates"])
    seen["columns"] = list(found[0].keys())
    seen["times"] = all(one["processed_time"].tzinfo for one in found)
    seen["loaded"] = loaded(client)
    client.delete_dataset("d", delete_contents=True)
    return seen


def loaded(client: Any) -> list[Any]:
    """A Parquet file in one request, one in several, the same job again, and rows as of a moment."""
    made: list[Any] = []
    for name, size in (("small", 10), ("large", 6 << 20)):
        file = io.BytesIO()
        columns = {"id": [1, 2], "data": [os.urandom(size), None], "tags": [["a"], []]}
        parquet.write_table(pyarrow.table(columns), file)
        options = bigquery.ParquetOptions()
        options.enable_list_inference = True
        config = bigquery.LoadJobConfig(source_format="PARQUET", parquet_options=options)
        more = {"size": file.tell(), "rewind": True, "job_id": f"load-{name}", "job_config": config}
        job = client.load_table_from_file(file, f"{PROJECT}.d.{name}", **more)
        made.append([job.result().output_rows, client.get_job(job.job_id).state])
        made.append(refused(client.load_table_from_file, file, f"{PROJECT}.d.{name}", **more))
        table = client.get_table(f"{PROJECT}.d.{name}")
        moment = bigquery.Table(
            f"{table.full_table_id.replace(':', '.')}@{round(table.modified.timestamp() * 1000) + 1}"
        )
        moment.schema = table.schema
        rows = pyarrow.Table.from_batches(client.list_rows(moment, page_size=1).to_arrow_iterable())
        made.append([rows.num_rows, rows.to_pydict() == columns])
    return made


def life() -> dict[str, Any]:
    sdk, objects = Sdk(), storage.Client(project=PROJECT)
    tables = bigquery.Client(project=PROJECT, credentials=anonymous())
    return {
        "buckets": buckets(objects),
        "objects": from_objects(sdk, objects),
        "tables": from_tables(sdk, tables),
    }


if __name__ == "__main__":
    json.dump(life(), sys.stdout)
