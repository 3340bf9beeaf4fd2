#!/usr/bin/env bash
# Trains three small models (minutes, once), quantizes them and prints accuracies and sizes.
set -euo pipefail
cd "$(dirname "$0")/../.."
tests/setup_env.sh examples
exec env PYTHONPATH="$PWD" .venv/bin/python -m examples.quantization.quantize
