"""What a script can send to the app, past the page and past `gradio_client`, and servers that it may be sent to."""

import json
import re
import threading
import time
import urllib.error
import urllib.request
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

EXAMPLES = Path(__file__).parent.parent / "assets" / "examples"
API = "/gradio_api"
SIGN = ["What does the sign say?", 60, 0, 1, 1, -1, 1]


class Http:
    """Requests as anybody can make them."""

    def __init__(self, url: str):
        self.url = url

    def __call__(self, path, data=None, headers=None, method=None, timeout=120):
        """Status, headers and body of a response; `data` is sent as JSON unless it is bytes."""
        headers = dict(headers or {})
        if data is not None and not isinstance(data, bytes):
            data, headers = json.dumps(data).encode(), {"Content-Type": "application/json", **headers}
        request = urllib.request.Request(self.url + path, data, headers, method=method)
        try:
            with urllib.request.urlopen(request, timeout=timeout) as response:
                return response.status, response.headers, response.read().decode(errors="replace")
        except urllib.error.HTTPError as error:
            return error.code, error.headers, error.read().decode(errors="replace")

    def upload(self, content: bytes, name="a.png") -> dict:
        form = b'--B\r\nContent-Disposition: form-data; name="files"; filename="%b"\r\n\r\n' % name.encode()
        kind = {"Content-Type": "multipart/form-data; boundary=B"}
        status, _, body = self(f"{API}/upload", form + content + b"\r\n--B--\r\n", kind)
        assert status == 200, body
        return {"path": json.loads(body)[0], "meta": {"_type": "gradio.FileData"}}

    def call(self, endpoint, data, **settings) -> tuple[str, str]:
        """`complete` or `error`, and the last message."""
        status, _, body = self(f"{API}/call/{endpoint}", {"data": data}, **settings)
        if status != 200:
            return str(status), body
        _, _, stream = self(f"{API}/call/{endpoint}/{json.loads(body)['event_id']}", **settings)
        *_, kind, message = re.findall(r"^(?:event|data): ?(.*)$", stream, re.M)
        return kind, message

    def ask(self) -> str:
        """An ordinary visitor's question and its answer."""
        sign = self.upload((EXAMPLES / "street_sign.png").read_bytes())
        kind, message = self.call("describe", [sign, *SIGN])
        assert kind == "complete", message
        return json.loads(message)[0]


def page_event(http: Http, elem_id: str) -> tuple[dict, dict]:
    """The page's configuration, and its event that takes this component and asks the model."""
    config = json.loads(http("/config")[2])
    names = {block["id"]: block["props"].get("elem_id") for block in config["components"]}
    for event in config["dependencies"]:
        takes = [names.get(each) for each in event["inputs"]]
        if event["queue"] is not False and elem_id in takes and len(takes) > 5:
            return config, event
    raise AssertionError(elem_id)


def read_on_the_page(http: Http, files: list[dict], session: str) -> str:
    """The OCR tab's event, as a script sends it. Returns all that came."""
    _, event = page_event(http, "ocr-files")
    begin = event["id"] - 1
    join = f"{API}/queue/join"
    http(f"{API}/run/predict", {"fn_index": begin, "data": [None], "session_hash": session})
    values = [None, 1, None, files, "text", 2, 0, 1, 1, -1, 1]
    status, _, body = http(join, {"fn_index": event["id"], "data": values, "session_hash": session})
    assert status == 200, body
    return http(f"{API}/queue/data?session_hash={session}")[2]


class Web(ThreadingHTTPServer):
    """A server on the internet: `/late` answers after two seconds; `/page.png` is a script."""

    daemon_threads = True

    def __init__(self):
        web, self.requests = self, []

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self):
                web.requests.append(self.path)
                if self.path == "/late":
                    time.sleep(2)
                self.send_response(200)
                self.send_header("Content-Type", "text/html" if "page" in self.path else "image/png")
                self.end_headers()
                self.wfile.write((EXAMPLES / "street_sign.png").read_bytes())

            def log_message(self, *_):
                pass

        super().__init__(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.serve_forever, daemon=True).start()
