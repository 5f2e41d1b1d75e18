# SPDX-License-Identifier: Apache-2.0
"""Reference data that ships with the project; sources and licences are in README.md beside it."""
