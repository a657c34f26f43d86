"""Instruments: each measures one thing about a model; one runner stores, resumes and scales all of them."""
