# SPDX-License-Identifier: Apache-2.0
"""Machines for Tools/hosts."""
