"""Builds what `judge package` writes: the function's zip, a layer, and IAM policies.

Nothing here calls AWS. pip fetches wheels by name and version.
"""
