# SPDX-License-Identifier: Apache-2.0
"""The processes one can start."""
