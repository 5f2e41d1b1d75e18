# SPDX-License-Identifier: Apache-2.0
"""The matching workers: from a change in the catalogue to suggestions with their reasons."""
