# SPDX-License-Identifier: Apache-2.0
"""The delivery workers: what is due goes out signed, and comes back as a written outcome."""
