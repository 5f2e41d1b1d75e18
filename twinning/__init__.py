# SPDX-License-Identifier: Apache-2.0
"""What all services agree on: words, tables, events, lifecycle rules; no web, no queue, no model library."""
