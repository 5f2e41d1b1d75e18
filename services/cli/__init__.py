# SPDX-License-Identifier: Apache-2.0
"""The command line and the supervisor that starts the other services."""
