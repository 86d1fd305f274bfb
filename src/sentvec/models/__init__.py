"""One file per architecture; `registry` is the only place that looks at `model_type`."""
