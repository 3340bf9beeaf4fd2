#!/usr/bin/env bash
# The tests, from a clean checkout; arguments go to pytest: tests/run.sh -m onnx_suite
set -euo pipefail
cd "$(dirname "$0")/.."
tests/setup_env.sh test
exec .venv/bin/python -m pytest -n 2 "$@"
