"""Examples in, better models out: data, objectives, the loop, mining of hard negatives, distillation."""
