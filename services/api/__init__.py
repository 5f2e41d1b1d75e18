# SPDX-License-Identifier: Apache-2.0
"""The front door: HTTP in, one transaction, an answer out."""
