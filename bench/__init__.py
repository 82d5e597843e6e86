"""Benchmarks of cardtrail beside its floors and peers; `bench/README.md` explains them."""
