"""The program of a WASI sandbox's process: runs CPython in WebAssembly on this process's pipes.

It is run by its path and imports nothing of ours, so that it starts fast. It has two commands:

    compile WASM TARGET
    run COMPILED SOURCE MEMORY_BYTES SECONDS NONCE OUTPUT_BYTES
"""

import os
import sys
import threading
from collections.abc import Sequence
from pathlib import Path

import wasmtime

WASM_STACK_BYTES = 2 * 2**20
"""Stack of the guest, which bounds its recursion; the thread's stack is 8 MiB."""


def engine() -> wasmtime.Engine:
    """The engine. Compiling and running need the same settings, or the compiled module is refused."""
    config = wasmtime.Config()
    config.epoch_interruption = True
    config.max_wasm_stack = WASM_STACK_BYTES
    return wasmtime.Engine(config)


def compile_to(wasm: str, target: str) -> None:
    """Compiles to a temporary file and renames it, so that no process reads half of it."""
    compiled = wasmtime.Module.from_file(engine(), wasm).serialize()
    partial = Path(f"{target}.{os.getpid()}")
    partial.touch(mode=0o600)
    partial.write_bytes(compiled)
    partial.replace(target)


def run(compiled: str, memory_bytes: int, seconds: float, guest: Sequence[str]) -> None:
    """Runs the guest (its source, its arguments) to its end.

    It ends after `seconds` even if the parent has died.
    """
    ticking = engine()
    module = wasmtime.Module.deserialize_file(ticking, compiled)
    wasi = wasmtime.WasiConfig()
    wasi.argv = ["python", "-I", "-S", "-B", "-c", *guest]
    wasi.inherit_stdin()
    wasi.inherit_stdout()
    store = wasmtime.Store(ticking)
    store.set_limits(memory_size=memory_bytes)
    store.set_wasi(wasi)
    store.set_epoch_deadline(1)
    end = threading.Timer(seconds, ticking.increment_epoch)
    end.daemon = True
    end.start()
    linker = wasmtime.Linker(ticking)
    linker.define_wasi()
    linker.instantiate(store, module).exports(store)["_start"](store)  # type: ignore[operator]  # it is a function


def main() -> None:
    what, *arguments = sys.argv[1:]
    if what == "compile":
        compile_to(*arguments)
        return
    compiled, source, memory_bytes, seconds, *guest = arguments
    try:
        run(compiled, int(memory_bytes), float(seconds), [Path(source).read_text(), *guest])
    finally:
        os._exit(0)  # no clean-up is needed


if __name__ == "__main__":
    main()
