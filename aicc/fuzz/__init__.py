"""Random modules through pipelines and targets: differential fuzzing (see `campaign`)."""
