"""Where steps run. An executor takes jobs as plain JSON and delivers their outcomes.

The worker that runs a job is named, never imported: it lies above this layer.
"""
