"""Check the instruments and the training on a GPU and measure what they cost there: `make gpu`, at most 8 minutes.

`python -m benchmarks.gpu [PART ...] [--smoke] [--seconds N]` runs all parts or those named and writes results-gpu.md
after each, to $OUT if that is set, else into benchmarks/. A part that fails, or that the time does not suffice for,
costs the others nothing; after an error that leaves the GPU unusable a new process goes on. `--smoke` runs everything
in toy sizes on whatever device there is.

Checks: trained and random networks, every instrument, on the GPU as on the CPU (float32, TF32 off). Rows: ratios of
medians, rivals in alternation within one run, the GPU waited for before and after each turn.
"""
