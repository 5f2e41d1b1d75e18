# SPDX-License-Identifier: Apache-2.0
"""The engine: text in, ranked pairs and their reasons out; no table, queue, clock or setting inside."""
