"""What W&B's servers answer to ``wandb sync``, on loopback; it keeps what is uploaded."""

from __future__ import annotations

import gzip
import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any


class Uploads:
    """Runs by their ID, with what was uploaded of each."""

    def __init__(self) -> None:
        self.runs: dict[str, dict[str, Any]] = {}
        self.history: dict[str, dict[int, dict[str, Any]]] = {}
        self.summary: dict[str, dict[str, Any]] = {}
        self.exit_codes: dict[str, int] = {}

    def upsert(self, told: dict[str, Any]) -> None:
        """UpsertBucket: a run's name, group, config and so on."""
        self.runs.setdefault(told["name"], {}).update({key: value for key, value in told.items() if value is not None})

    def stream(self, run: str, told: dict[str, Any]) -> None:
        """file_stream: lines of files, by their offset."""
        for name, chunk in told.get("files", {}).items():
            lines = [json.loads(line) for line in chunk["content"]]
            if name == "wandb-history.jsonl":
                self.history.setdefault(run, {}).update(enumerate(lines, chunk["offset"]))
            elif name == "wandb-summary.json":
                self.summary[run] = lines[-1]
        if told.get("complete"):
            self.exit_codes[run] = told.get("exitcode", 0)


def _handler(uploads: Uploads) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
            del format, args

        def do_POST(self) -> None:
            raw = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            if self.headers.get("Content-Encoding") == "gzip":
                raw = gzip.decompress(raw)
            answer = self._graphql(json.loads(raw)) if self.path == "/graphql" else self._file(raw)
            content = json.dumps(answer).encode()
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        do_PUT = do_POST  # noqa: N815

        def _file(self, raw: bytes) -> dict[str, Any]:
            if self.path.endswith("/file_stream"):
                uploads.stream(self.path.split("/")[-2], json.loads(raw))
            return {}

        def _graphql(self, asked: dict[str, Any]) -> dict[str, Any]:
            told = asked.get("variables") or {}
            if "upsertBucket" in asked["query"]:
                uploads.upsert(told)
                project = {"id": "p", "name": told.get("project"), "entity": {"id": "e", "name": "me"}}
                bucket = {"id": "x", "name": told["name"], "config": "{}", "historyLineCount": 0, "project": project}
                return {"data": {"upsertBucket": {"bucket": bucket, "inserted": True}}}
            if "createRunFiles" in asked["query"]:
                url = f"http://{self.headers['Host']}/upload"
                files = [{"name": name, "uploadUrl": f"{url}/{name}"} for name in told["files"]]
                return {"data": {"createRunFiles": {"runID": "x", "uploadHeaders": [], "files": files}}}
            return {"data": {"serverInfo": {"features": []}}}

    return Handler


@contextmanager
def _server(uploads: Uploads) -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), _handler(uploads)) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


def synced(folder: Path, home: Path) -> Uploads:
    """What ``wandb sync`` uploads of a folder's offline runs."""
    uploads = Uploads()
    runs = sorted(map(str, folder.glob("offline-run-*")))
    own = {name: value for name, value in os.environ.items() if "proxy" not in name.lower()}
    with _server(uploads) as url:
        done = subprocess.run(
            [sys.executable, "-m", "wandb", "sync", *runs],
            cwd=home,
            env={
                **own,
                "HOME": str(home),
                "WANDB_BASE_URL": url,
                "WANDB_API_KEY": "0" * 40,
                "WANDB_ERROR_REPORTING": "false",
            },
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
    assert done.returncode == 0, done.stderr
    return uploads
