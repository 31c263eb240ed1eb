"""The software in a result: found by cataloguers, one for each kind of package, and written as SPDX or CycloneDX."""
