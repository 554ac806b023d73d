"""The former name of `sandbox.wasi`, for builds that run it with `python -m`; removed in the next version."""

import runpy

if __name__ == "__main__":
    runpy.run_module("judge_service.verifiers.sandbox.wasi", run_name="__main__")
